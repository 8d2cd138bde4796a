/* SPDX-License-Identifier: Apache-2.0
 *
 * Making what a record lists, as a checkout does.
 */
#ifndef VOLT_MAKE_H
#define VOLT_MAKE_H

#include "metadata.h"

/* What one thread may set, and what it could not. */
struct maker {
        const struct volt_owner *owner;
        struct left_out left_out;
        struct buffer scratch;
};

void maker_done(struct maker *m);

/* Makes anything but a directory or a file with content. What this process may not make is left out, and counted: 0. */
int make_entry(struct maker *m, int dir_fd, const struct entry *entry);

/* Sets the metadata of a directory that this process has made; the last thing that is done to it. */
int finish_directory(struct maker *m, int fd, const struct metadata *metadata);

/* With which mode to make a directory that will get this metadata: while it is filled, it must be open to us. */
mode_t filling_mode(const struct maker *m, const struct metadata *metadata);

#endif
