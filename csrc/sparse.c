/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "sparse.h"

#define BLOCK 4096U

int write_all_at(int fd, const unsigned char *data, size_t size, off_t offset) {
        while (size > 0) {
                ssize_t n = RETRY_EINTR(pwrite(fd, data, size, offset));

                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t) n;
                offset += n;
        }
        return 0;
}

static bool is_zero(const unsigned char *data, size_t size) {
        return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

int write_sparse(int fd, const unsigned char *data, size_t size, off_t offset, off_t *end) {
        size_t start = 0, at = 0;
        int r;

        while (at < size) {
                size_t n = BLOCK - ((size_t) offset + at) % BLOCK;

                if (n > size - at)
                        n = size - at;
                if (is_zero(data + at, n)) {
                        r = write_all_at(fd, data + start, at - start, offset + (off_t) start);
                        if (r < 0)
                                return r;
                        if (start < at)
                                *end = offset + (off_t) at;
                        start = at + n;
                }
                at += n;
        }
        if (start < at)
                *end = offset + (off_t) at;
        return write_all_at(fd, data + start, at - start, offset + (off_t) start);
}

int next_data(int fd, const struct stat *st, off_t at, off_t *ret_start, off_t *ret_end) {
        off_t start = at, end = st->st_size;

        if (st->st_blocks * 512 < st->st_size) {
                start = lseek(fd, at, SEEK_DATA);
                if (start < 0 && errno != ENXIO)
                        return -errno;
                if (start < 0 || start > st->st_size)
                        start = st->st_size;
                else {
                        end = lseek(fd, start, SEEK_HOLE);
                        if (end < 0)
                                return -errno;
                        if (end > st->st_size)
                                end = st->st_size;
                }
        }
        *ret_start = start;
        *ret_end = end;
        return 0;
}
