/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "chain.h"
#include "util.h"

void chain_init(struct chain *c, int root_fd) {
        *c = (struct chain) { .root_fd = root_fd, .deep_fd = -1 };
}

static void chain_cut(struct chain *c, unsigned n_levels) {
        c->deep_fd = close_fd(c->deep_fd);
        while (c->n_levels > n_levels)
                close_fd(c->fds[--c->n_levels]);
}

void chain_done(struct chain *c) {
        chain_cut(c, 0);
        free(c->path);
}

bool path_is_clean(const char *path, size_t size) {
        const char *end = path + size;

        if (memchr(path, 0, size))
                return false;
        for (const char *slash; ; path = slash + 1) {
                size_t n;

                slash = memchr(path, '/', (size_t) (end - path));
                n = (size_t) ((slash ? slash : end) - path);
                if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
                        return false;
                if (!slash)
                        return true;
        }
}

/* How many of the open levels are also the first components of the path. */
static unsigned shared_levels(const struct chain *c, const char *path, size_t size) {
        unsigned n = 0;

        while (n < c->n_levels) {
                size_t start = n > 0 ? c->ends[n - 1] : 0, end = c->ends[n];

                if (size < end || memcmp(c->path + start, path + start, end - start) != 0 ||
                    (size > end && path[end] != '/'))
                        break;
                n++;
        }
        return n;
}

static int open_component(int dir_fd, const char *component, size_t size) {
        char name[256];
        int fd;

        if (size >= sizeof name)
                return -ENAMETOOLONG;
        memcpy(name, component, size);
        name[size] = 0;
        fd = RETRY_EINTR(openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        return fd < 0 ? -errno : fd;
}

int chain_open(struct chain *c, const char *path, size_t size) {
        size_t at;
        int fd;

        if (c->deep_fd >= 0 && c->size == size && memcmp(c->path, path, size) == 0)
                return c->deep_fd;
        chain_cut(c, shared_levels(c, path, size));
        if (grow(&c->path, &c->allocated, size + 1, 1, 256) < 0)
                return -ENOMEM;
        memcpy(c->path, path, size);
        c->size = size;

        at = c->n_levels > 0 ? c->ends[c->n_levels - 1] + 1 : 0;
        fd = c->n_levels > 0 ? c->fds[c->n_levels - 1] : c->root_fd;
        while (at < size) {
                const char *slash = memchr(path + at, '/', size - at);
                size_t end = slash ? (size_t) (slash - path) : size;
                int next = open_component(fd, path + at, end - at);

                if (next < 0) {
                        c->deep_fd = close_fd(c->deep_fd);
                        return next;
                }
                if (c->n_levels < CHAIN_LEVELS) {
                        c->fds[c->n_levels] = next;
                        c->ends[c->n_levels++] = end;
                } else {
                        close_fd(c->deep_fd);
                        c->deep_fd = next;
                }
                fd = next;
                at = end + 1;
        }
        return fd;
}
