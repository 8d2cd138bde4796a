/* SPDX-License-Identifier: Apache-2.0
 *
 * Files with holes: aligned blocks of zeros are not written, and holes are not read.
 */
#ifndef VOLT_SPARSE_H
#define VOLT_SPARSE_H

#include <sys/stat.h>

#include "util.h"

int write_all_at(int fd, const unsigned char *data, size_t size, off_t offset);

/* Writes all but the blocks of zeros. *end is where the file ends by now, if that was written. */
int write_sparse(int fd, const unsigned char *data, size_t size, off_t offset, off_t *end);

/* The next part of a file behind `at` that is no hole; st is what fstat() says. Both are its size where there is none. */
int next_data(int fd, const struct stat *st, off_t at, off_t *ret_start, off_t *ret_end);

#endif
