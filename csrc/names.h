/* SPDX-License-Identifier: Apache-2.0
 *
 * The names in a directory; "." and ".." are passed over, and one that was removed since it was opened has none.
 */
#ifndef VOLT_NAMES_H
#define VOLT_NAMES_H

#include <dirent.h>

#include "util.h"

#define DIRENTS_SIZE (64U * 1024U)

/* Calls add() for each, in the order of the directory; `type` is a d_type. `dirents` has DIRENTS_SIZE bytes. */
int each_name(int fd, char *dirents, int (*add)(void *userdata, const char *name, unsigned char type), void *userdata);

/* All of them, in byte order. */
struct names {
        struct buffer data;               /* each ended by a NUL */
        const char **sorted;              /* into data */
        size_t n, allocated;
};

/* In place of what was there. */
int names_read(struct names *names, int fd, char *dirents);

void names_done(struct names *names);

#endif
