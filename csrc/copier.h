/* SPDX-License-Identifier: Apache-2.0
 *
 * A file that is a copy of an object.
 */
#ifndef VOLT_COPIER_H
#define VOLT_COPIER_H

#include <stdatomic.h>

#include "metadata.h"

/* Makes the file, with the holes of the object. may_reflink says whether to try to share blocks, and is cleared where the
 * file system cannot. The buffer has HASHER_BUFFER_SIZE bytes. 0: there is no such object, it is damaged, or it cannot
 * share blocks although it must; nothing is made then. */
int copy_object(int objects_fd, const struct entry *entry, const struct metadata *m, int dir_fd, const char *name,
                bool must_reflink, atomic_bool *may_reflink, unsigned char *buffer, struct left_out *left_out,
                bool *ret_reflinked);

#endif
