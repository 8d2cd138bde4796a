/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 of files by OpenSSL. The algorithm is looked up once per call: by name for every file, the look-up costs more
 * than hashing a small file does.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"
#include "volt_native.h"

#define READ_SIZE (1024U * 1024U)

/* Paths come in the order of a walk: a run of neighbours mostly shares its directory. */
#define PATHS_PER_TURN 32U

/* EVP_sha256() would be looked up again in every EVP_DigestInit_ex() of OpenSSL 3. */
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
static EVP_MD *sha256_new(void) {
        return EVP_MD_fetch(NULL, "SHA256", NULL);
}

static void cleanup_sha256(EVP_MD **md) {
        EVP_MD_free(*md);
}
#else
static const EVP_MD *sha256_new(void) {
        return EVP_sha256();
}

static void cleanup_sha256(const EVP_MD **md) {
        (void) md;
}
#endif

typedef __typeof__(sha256_new()) sha256_t;

#define _cleanup_sha256_ __attribute__((cleanup(cleanup_sha256)))

/* What one thread needs to hash one file after the other. */
struct hasher {
        const EVP_MD *md;
        EVP_MD_CTX *context;
        unsigned char *buffer;
};

static void hasher_done(struct hasher *h) {
        EVP_MD_CTX_free(h->context);
        free(h->buffer);
}

#define _cleanup_hasher_ __attribute__((cleanup(hasher_done)))

static int hasher_init(struct hasher *h, const EVP_MD *md) {
        h->md = md;
        h->context = EVP_MD_CTX_new();
        h->buffer = malloc(READ_SIZE);
        return h->context && h->buffer ? 0 : -ENOMEM;
}

static int hasher_run(struct hasher *h, int fd, unsigned char *ret_digest, uint64_t *ret_size) {
        unsigned char digest[VOLT_DIGEST_SIZE];
        uint64_t size = 0;

        if (!EVP_DigestInit_ex(h->context, h->md, NULL))
                return -ENOMEM;
        for (;;) {
                ssize_t n = RETRY_EINTR(read(fd, h->buffer, READ_SIZE));

                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                if (!EVP_DigestUpdate(h->context, h->buffer, (size_t) n))
                        return -ENOMEM;
                size += (uint64_t) n;
        }
        if (!EVP_DigestFinal_ex(h->context, digest, NULL))
                return -ENOMEM;
        memcpy(ret_digest, digest, sizeof digest);
        *ret_size = size;
        return 0;
}

int volt_hash_file(int fd, unsigned char *ret_digest, uint64_t *ret_size) {
        _cleanup_sha256_ sha256_t md = sha256_new();
        _cleanup_hasher_ struct hasher h = {};
        int r;

        if (!md)
                return -ENOMEM;
        r = hasher_init(&h, md);
        if (r < 0)
                return r;
        return hasher_run(&h, fd, ret_digest, ret_size);
}

/* The directory that the last path lay in, kept open for its neighbours. */
struct parent {
        int fd;
        const char *path;    /* of the directory, `size` bytes, in the caller's paths; NULL: nothing is open */
        size_t size;
};

static void parent_done(struct parent *parent) {
        parent->fd = close_fd(parent->fd);
        parent->path = NULL;
}

#define _cleanup_parent_ __attribute__((cleanup(parent_done)))

/* Plain components only: with neither ".." nor links to follow, no path leads out of the root. */
static bool path_is_clean(const char *path, size_t size) {
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

/* Opens the directory part component by component: no link is followed, and the whole may be longer than PATH_MAX. */
static int parent_open(struct parent *parent, int root_fd, const char *path, size_t size) {
        _cleanup_close_ int fd = -1;

        if (parent->path && parent->size == size && memcmp(parent->path, path, size) == 0)
                return 0;
        parent_done(parent);

        for (size_t at = 0; at < size;) {
                char name[256];
                const char *slash = memchr(path + at, '/', size - at);
                size_t n = slash ? (size_t) (slash - path) - at : size - at;
                int next;

                if (n >= sizeof name)
                        return -ENAMETOOLONG;
                memcpy(name, path + at, n);
                name[n] = 0;
                next = RETRY_EINTR(openat(fd >= 0 ? fd : root_fd, name,
                                          O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
                if (next < 0)
                        return -errno;
                close_fd(fd);
                fd = next;
                at += n + 1;
        }
        parent->fd = steal_fd(&fd);
        parent->path = path;
        parent->size = size;
        return 0;
}

static int hash_path(struct hasher *h, struct parent *parent, int root_fd, const char *path, size_t size,
                     unsigned char *ret_digest) {
        _cleanup_close_ int fd = -1;
        const char *slash, *name;
        struct stat st;
        uint64_t n_read;
        int dir_fd, r;

        if (!path_is_clean(path, size))
                return -EINVAL;
        slash = memrchr(path, '/', size);
        name = slash ? slash + 1 : path;
        r = parent_open(parent, root_fd, path, slash ? (size_t) (slash - path) : 0);
        if (r < 0)
                return r;
        dir_fd = parent->fd >= 0 ? parent->fd : root_fd;

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

static void *batch_work(void *userdata) {
        struct batch *b = userdata;
        _cleanup_hasher_ struct hasher h = {};
        _cleanup_parent_ struct parent parent = { .fd = -1 };
        int r;

        r = hasher_init(&h, b->md);
        for (;;) {
                size_t at = atomic_fetch_add(&b->next, PATHS_PER_TURN), end;

                if (at >= b->n_paths)
                        return NULL;
                end = b->n_paths - at > PATHS_PER_TURN ? at + PATHS_PER_TURN : b->n_paths;
                for (; at < end; at++)
                        b->errors[at] = r < 0 ? r : hash_path(&h, &parent, b->root_fd, b->paths[at], b->sizes[at],
                                                              b->digests + at * VOLT_DIGEST_SIZE);
        }
}

/* Starts up to n threads and gives the number that did start: the caller works too, so none is needed. */
static size_t start_threads(pthread_t *threads, size_t n, struct batch *batch) {
        sigset_t all, before;
        size_t started = 0;

        /* Signals stay with the interpreter's own threads. */
        sigfillset(&all);
        if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
                return 0;
        while (started < n && pthread_create(&threads[started], NULL, batch_work, batch) == 0)
                started++;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return started;
}

int volt_hash_files(int root_fd, const char *paths, const size_t *sizes, size_t n_paths, unsigned n_threads,
                    unsigned char *ret_digests, int *ret_errors) {
        _cleanup_sha256_ sha256_t md = sha256_new();
        _cleanup_free_ const char **starts = NULL;
        _cleanup_free_ pthread_t *threads = NULL;
        size_t started;

        if (n_paths == 0)
                return 0;
        if (n_threads == 0)
                return -EINVAL;
        starts = calloc(n_paths, sizeof *starts);
        threads = calloc(n_threads, sizeof *threads);
        if (!md || !starts || !threads)
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
        started = start_threads(threads, n_threads - 1, &batch);
        batch_work(&batch);
        for (size_t i = 0; i < started; i++)
                pthread_join(threads[i], NULL);
        return 0;
}
