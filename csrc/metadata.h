/* SPDX-License-Identifier: Apache-2.0
 *
 * What inodes carry beside their content: reading it from a source, setting it on what is made.
 */
#ifndef VOLT_METADATA_H
#define VOLT_METADATA_H

#include <sys/stat.h>

#include "record.h"
#include "util.h"
#include "volt_native.h"

/* Extended attributes that no record keeps, by the reason. The order is that of the notes in the Python code. */
enum xattr_verdict {
        XATTR_KEPT,
        XATTR_OVERLAY,        /* would change how overlayfs shows the tree */
        XATTR_SECURITY,
        XATTR_SYSTEM,
        XATTR_TRUSTED,
        XATTR_UNKNOWN,
        XATTR_UNREADABLE,
        N_XATTR_VERDICTS,
};

/* Reads the extended attributes of an open file; buffers are kept for the next one. */
struct xattr_reader {
        char *names;                      /* XATTR_LIST_SIZE bytes */
        unsigned char *value;             /* XATTR_VALUE_SIZE bytes */
        const char **sorted;
        size_t sorted_allocated;
};

#define XATTR_LIST_SIZE 65536U
#define XATTR_VALUE_SIZE 65536U

int xattr_reader_init(struct xattr_reader *r);
void xattr_reader_done(struct xattr_reader *r);

/* Appends the kept ones to `encoded` as a record has them. *ret_left_out gets a bit for each verdict there was. */
int xattrs_read(struct xattr_reader *r, int fd, struct buffer *encoded, uint32_t *ret_n, unsigned *ret_left_out);

/* The same by path, which is not followed where it ends in a link. */
int xattrs_read_path(struct xattr_reader *r, const char *path, struct buffer *encoded,
                     uint32_t *ret_n, unsigned *ret_left_out);

/* Of what stat() said, without extended attributes. */
struct metadata metadata_of(const struct stat *st);

/* What could not be set, for one note at the end. */
struct left_out {
        uint64_t owners, devices;
        struct buffer xattrs;             /* names, each once, each ended by a NUL */
};

void left_out_done(struct left_out *l);
int left_out_merge(struct left_out *into, const struct left_out *from);

/* What this process will set of the metadata. `scratch` holds what had to be encoded anew, and must live as long as the
 * result; without root an owner cannot be given away and no capability set, and set-uid and set-gid bits that are meant
 * for another owner would lend our rights to whoever runs the file. */
int metadata_applicable(const struct volt_owner *owner, const struct metadata *m, struct buffer *scratch,
                        struct left_out *left_out, struct metadata *ret);

/* Sets owner, attributes, mode and times of an open file or directory that this process has just made. */
int metadata_apply(int fd, const struct metadata *m, struct left_out *left_out);

/* The same for what cannot be opened: a symlink, a device, a fifo. */
int metadata_apply_at(int dir_fd, const char *name, const struct metadata *m, struct left_out *left_out);

#endif
