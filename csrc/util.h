/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_UTIL_H
#define VOLT_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Repeats a system call that a signal interrupted. */
#define RETRY_EINTR(call)                                       \
        ({                                                      \
                __typeof__(call) _result;                       \
                do                                              \
                        _result = (call);                       \
                while (_result < 0 && errno == EINTR);          \
                _result;                                        \
        })

static inline int steal_fd(int *fd) {
        int stolen = *fd;

        *fd = -1;
        return stolen;
}

static inline void *steal_pointer_impl(void *pointer) {
        void **p = pointer, *stolen = *p;

        *p = NULL;
        return stolen;
}

#define STEAL_POINTER(p) ((__typeof__(p)) steal_pointer_impl(&(p)))

/* Linux has always freed the descriptor by the time close() returns, whatever it returns. */
static inline int close_fd(int fd) {
        if (fd >= 0) {
                int saved = errno;

                (void) close(fd);
                errno = saved;
        }
        return -1;
}

static inline void cleanup_close(int *fd) {
        close_fd(*fd);
}

static inline void cleanup_free(void *p) {
        free(*(void **) p);
}

#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))

/* openat() that leaves the access time alone where the kernel lets us: O_NOATIME is for the owner and for CAP_FOWNER. */
static inline int openat_noatime(int dir_fd, const char *name, int flags) {
        int fd;

        fd = RETRY_EINTR(openat(dir_fd, name, flags | O_NOATIME | O_CLOEXEC));
        if (fd < 0 && errno == EPERM)
                fd = RETRY_EINTR(openat(dir_fd, name, flags | O_CLOEXEC));
        return fd;
}

/* Makes room for `need` items in all, at least doubling. */
static inline int grow(void *array, size_t *allocated, size_t need, size_t item_size, size_t first) {
        void **p = array, *moved;
        size_t n = *allocated > 0 ? *allocated : first;

        if (need <= *allocated)
                return 0;
        while (n < need)
                if (__builtin_mul_overflow(n, (size_t) 2, &n))
                        return -ENOMEM;
        moved = reallocarray(*p, n, item_size);
        if (!moved)
                return -ENOMEM;
        *p = moved;
        *allocated = n;
        return 0;
}

/* Bytes that grow. */
struct buffer {
        unsigned char *data;
        size_t size, allocated;
};

static inline void buffer_done(struct buffer *b) {
        free(b->data);
        *b = (struct buffer) {};
}

#define _cleanup_buffer_ __attribute__((cleanup(buffer_done)))

/* Gives room for `size` more bytes, which count from now on, or NULL. */
static inline unsigned char *buffer_extend(struct buffer *b, size_t size) {
        unsigned char *at;
        size_t need;

        if (__builtin_add_overflow(b->size, size, &need) || grow(&b->data, &b->allocated, need, 1, 1024) < 0)
                return NULL;
        at = b->data + b->size;
        b->size = need;
        return at;
}

static inline int buffer_append(struct buffer *b, const void *data, size_t size) {
        unsigned char *at;

        if (size == 0)
                return 0;
        at = buffer_extend(b, size);
        if (!at)
                return -ENOMEM;
        memcpy(at, data, size);
        return 0;
}

#endif
