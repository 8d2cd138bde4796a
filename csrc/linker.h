/* SPDX-License-Identifier: Apache-2.0
 *
 * Which inode of a store a file of a linked checkout is: one that has content and metadata, the object or a variant.
 */
#ifndef VOLT_LINKER_H
#define VOLT_LINKER_H

#include "metadata.h"
#include "sha256.h"

/* What one thread needs for it. */
struct linker {
        int store_fd, objects_fd;         /* borrowed */
        unsigned max_links;               /* 0: the file system's own limit */
        struct hasher hasher;
        struct xattr_reader reader;
        struct buffer xattrs, encoded;
};

int linker_init(struct linker *l, int store_fd, int objects_fd, unsigned max_links, const EVP_MD *md);
void linker_done(struct linker *l);

/* Makes a link to stored content. 0: there is no such inode as it is, or it cannot be linked, which is for the caller to
 * look into. */
int linker_link(struct linker *l, const unsigned char *digest, uint64_t size, const struct metadata *m,
                int dir_fd, const char *name);

#endif
