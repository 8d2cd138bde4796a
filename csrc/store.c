/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <sys/stat.h>

#include "store.h"

/* What grows while it is read, or is absurd for a record, is not read to the end. */
#define MAX_WHOLE (1024UL * 1024 * 1024)

static const char digits[] = "0123456789abcdef";

static char *put_hex(char *at, const unsigned char *data, size_t size) {
        for (size_t i = 0; i < size; i++) {
                *at++ = digits[data[i] >> 4];
                *at++ = digits[data[i] & 15];
        }
        return at;
}

void digest_to_hex(char *ret, const unsigned char *digest) {
        *put_hex(ret, digest, VOLT_DIGEST_SIZE) = 0;
}

void store_path(char *ret, const char *folder, const unsigned char *digest) {
        ret = stpcpy(ret, folder);
        *ret++ = '/';
        ret = put_hex(ret, digest, 1);
        *ret++ = '/';
        *put_hex(ret, digest + 1, VOLT_DIGEST_SIZE - 1) = 0;
}

static int hex_digit(char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_to_bytes(unsigned char *ret, const char *text, size_t n_bytes) {
        for (size_t i = 0; i < n_bytes; i++) {
                int high = hex_digit(text[2 * i]), low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);

                if (low < 0)
                        return false;
                ret[i] = (unsigned char) (high << 4 | low);
        }
        return true;
}

int read_whole(int dir_fd, const char *path, struct buffer *ret) {
        _cleanup_close_ int fd = -1;
        struct stat st;

        fd = RETRY_EINTR(openat(dir_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        ret->size = 0;
        for (size_t want = (size_t) st.st_size + 1; ; want = 4096) {
                unsigned char *at;
                ssize_t n;

                if (want > MAX_WHOLE - ret->size)
                        return -EFBIG;
                at = buffer_extend(ret, want);
                if (!at)
                        return -ENOMEM;
                n = RETRY_EINTR(read(fd, at, want));
                if (n < 0)
                        return -errno;
                ret->size -= want - (size_t) n;
                if (n == 0)
                        return 0;
        }
}

int read_record(int store_fd, const unsigned char *digest, struct buffer *ret) {
        char path[STORE_PATH_SIZE];

        store_path(path, "trees", digest);
        return read_whole(store_fd, path, ret);
}

int write_all(int fd, const unsigned char *data, size_t size) {
        while (size > 0) {
                ssize_t n = RETRY_EINTR(write(fd, data, size));

                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t) n;
        }
        return 0;
}
