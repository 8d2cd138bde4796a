/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "sha256.h"
#include "threads.h"
#include "util.h"
#include "volt_native.h"

/* Paths come in the order of a walk: a run of neighbours mostly shares its directory. */
#define PATHS_PER_TURN 32U

int volt_hash_file(int fd, unsigned char *ret_digest, uint64_t *ret_size) {
        _cleanup_sha256_ sha256_t md = sha256_new();
        _cleanup_hasher_ struct hasher h = {};
        int r;

        r = hasher_init(&h, md);
        if (r < 0)
                return r;
        return hasher_run(&h, fd, ret_digest, ret_size);
}

static int hash_path(struct hasher *h, struct chain *chain, const char *path, size_t size,
                     unsigned char *ret_digest) {
        _cleanup_close_ int fd = -1;
        const char *slash, *name;
        struct stat st;
        uint64_t n_read;
        int dir_fd;

        if (!path_is_clean(path, size))
                return -EINVAL;
        slash = memrchr(path, '/', size);
        name = slash ? slash + 1 : path;
        dir_fd = chain_open(chain, path, slash ? (size_t) (slash - path) : 0);
        if (dir_fd < 0)
                return dir_fd;

        /* Asked before opening, since opening a device may already do something, and once more after it. */
        if (RETRY_EINTR(fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW)) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        fd = openat_noatime(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        return hasher_run(h, fd, ret_digest, &n_read);
}

/* The list, shared by all threads; each takes the next few paths until none is left. */
struct batch {
        int root_fd;
        const EVP_MD *md;
        const char *const *paths;
        const size_t *sizes;
        size_t n_paths;
        atomic_size_t next;
        unsigned char *digests;
        int *errors;
};

static void batch_work(void *userdata, unsigned number) {
        struct batch *b = userdata;
        _cleanup_hasher_ struct hasher h = {};
        _cleanup_chain_ struct chain chain;
        int r;

        (void) number;
        chain_init(&chain, b->root_fd);
        r = hasher_init(&h, b->md);
        for (;;) {
                size_t at = atomic_fetch_add(&b->next, PATHS_PER_TURN), end;

                if (at >= b->n_paths)
                        return;
                end = b->n_paths - at > PATHS_PER_TURN ? at + PATHS_PER_TURN : b->n_paths;
                for (; at < end; at++)
                        b->errors[at] = r < 0 ? r : hash_path(&h, &chain, b->paths[at], b->sizes[at],
                                                              b->digests + at * VOLT_DIGEST_SIZE);
        }
}

int volt_hash_files(int root_fd, const char *paths, const size_t *sizes, size_t n_paths, unsigned n_threads,
                    unsigned char *ret_digests, int *ret_errors) {
        _cleanup_sha256_ sha256_t md = sha256_new();
        _cleanup_free_ const char **starts = NULL;

        if (n_paths == 0)
                return 0;
        if (n_threads == 0)
                return -EINVAL;
        starts = calloc(n_paths, sizeof *starts);
        if (!md || !starts)
                return -ENOMEM;
        for (size_t i = 0; i < n_paths; i++) {
                starts[i] = paths;
                paths += sizes[i] + 1;
        }

        struct batch batch = {
                .root_fd = root_fd,
                .md = md,
                .paths = starts,
                .sizes = sizes,
                .n_paths = n_paths,
                .digests = ret_digests,
                .errors = ret_errors,
        };
        run_threads(n_threads, batch_work, &batch);
        return 0;
}
