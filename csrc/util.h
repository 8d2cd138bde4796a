/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_UTIL_H
#define VOLT_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
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

#endif
