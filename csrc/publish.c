/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fanout.h"
#include "names.h"
#include "store.h"
#include "threads.h"
#include "util.h"
#include "volt_native.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* A staged file. */
struct staged {
        int dir_fd;              /* of the directory that it is in */
        unsigned folder;         /* of folders */
        char name[2 * VOLT_DIGEST_SIZE + 1];
};

static const struct {
        const char *staged, *stored;
        bool replace;
} folders[] = {
        { "objects", "objects", false },
        { "objects.replace", "objects", true },
        { "trees", "trees", false },
        { "trees.replace", "trees", true },
};

#define N_FOLDERS (sizeof folders / sizeof folders[0])

struct publication {
        int staging_fd, store_fd;
        struct fanout new_objects, new_trees;    /* which folders there are that the store had none for */
        struct staged *files;
        size_t n_files, files_allocated;
        int *dir_fds;
        size_t n_dir_fds, dir_fds_allocated;
        size_t starts[257];      /* of the files whose digests begin with a byte, and the end */
        unsigned next;
        int error;
};

static void publication_done(struct publication *p) {
        for (size_t i = 0; i < p->n_dir_fds; i++)
                close_fd(p->dir_fds[i]);
        free(p->dir_fds);
        free(p->files);
        fanout_done(&p->new_objects);
        fanout_done(&p->new_trees);
}

/* A directory whose names are being read. */
struct place {
        struct publication *p;
        int fd;
        unsigned folder;
        char *dirents;           /* for the directories in it */
};

static int open_directory(int dir_fd, const char *name) {
        int fd;

        fd = RETRY_EINTR(openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        return fd < 0 ? -errno : fd;
}

static bool is_no_directory(int error) {
        return error == -ENOENT || error == -ENOTDIR || error == -ELOOP;
}

static int add_file(void *userdata, const char *name, unsigned char type) {
        struct place *place = userdata;
        struct publication *p = place->p;
        unsigned char digest[VOLT_DIGEST_SIZE];
        struct staged *file;
        int r;

        (void) type;
        if (strlen(name) != 2 * VOLT_DIGEST_SIZE || !hex_to_bytes(digest, name, sizeof digest))
                return 0;
        r = grow(&p->files, &p->files_allocated, p->n_files + 1, sizeof *p->files, 256);
        if (r < 0)
                return r;
        file = &p->files[p->n_files++];
        file->dir_fd = place->fd;
        file->folder = place->folder;
        memcpy(file->name, name, sizeof file->name);
        return 0;
}

/* The folders that one thread has staged in. */
static int add_thread(void *userdata, const char *name, unsigned char type) {
        struct place *staging = userdata;
        struct publication *p = staging->p;
        _cleanup_close_ int fd = -1;
        int r;

        (void) type;
        fd = open_directory(staging->fd, name);
        if (fd < 0)
                return is_no_directory(fd) ? 0 : fd;
        for (unsigned i = 0; i < N_FOLDERS; i++) {
                struct place place = { .p = p, .folder = i };

                place.fd = open_directory(fd, folders[i].staged);
                if (is_no_directory(place.fd))
                        continue;
                r = place.fd < 0 ? place.fd : grow(&p->dir_fds, &p->dir_fds_allocated, p->n_dir_fds + 1,
                                                   sizeof *p->dir_fds, 16);
                if (r < 0) {
                        close_fd(place.fd);
                        return r;
                }
                p->dir_fds[p->n_dir_fds++] = place.fd;
                r = each_name(place.fd, staging->dirents + DIRENTS_SIZE, add_file, &place);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int collect(struct publication *p, int staging_fd) {
        _cleanup_free_ char *dirents = malloc((size_t) 2 * DIRENTS_SIZE);
        _cleanup_close_ int fd = -1;
        struct place staging = { .p = p, .dirents = dirents };

        if (!dirents)
                return -ENOMEM;
        /* A descriptor of our own: reading names moves the offset, which the caller's shares with its duplicates. */
        staging.fd = fd = open_directory(staging_fd, ".");
        return fd < 0 ? fd : each_name(fd, dirents, add_thread, &staging);
}

static int find_new_folders(struct publication *p) {
        _cleanup_close_ int fd = -1;
        int r;

        fd = open_directory(p->staging_fd, "new");
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        r = fanout_open(&p->new_objects, fd, "objects");
        return r < 0 ? r : fanout_open(&p->new_trees, fd, "trees");
}

static int compare_files(const void *a, const void *b) {
        const struct staged *left = a, *right = b;

        return memcmp(left->name, right->name, sizeof left->name);
}

/* Sorts the files, so that each thread has directories for itself. */
static void sort_files(struct publication *p) {
        size_t at = 0;

        if (p->n_files > 1)
                qsort(p->files, p->n_files, sizeof *p->files, compare_files);
        for (unsigned first = 0; first < 256; first++) {
                char prefix[3];

                (void) snprintf(prefix, sizeof prefix, "%02x", first);
                p->starts[first] = at;
                while (at < p->n_files && memcmp(p->files[at].name, prefix, 2) == 0)
                        at++;
        }
        p->starts[256] = at;
}

/* Moves without replacing; that somebody else was quicker is as good. */
static int move(int from_fd, const char *from, int to_fd, const char *to) {
        if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) >= 0)
                return 0;
        /* Not every file system knows the flag. */
        if (errno == EINVAL && linkat(from_fd, from, to_fd, to, 0) >= 0)
                return unlinkat(from_fd, from, 0) < 0 ? -errno : 0;
        if (errno == EEXIST)
                return unlinkat(from_fd, from, 0) < 0 ? -errno : 0;
        return -errno;
}

static int publish_file(const struct publication *p, const struct staged *file) {
        char path[STORE_PATH_SIZE], prefix[16];

        (void) snprintf(prefix, sizeof prefix, "%s/%.2s", folders[file->folder].stored, file->name);
        (void) snprintf(path, sizeof path, "%s/%.2s/%s", folders[file->folder].stored, file->name, file->name + 2);
        for (unsigned i = 0;; i++) {
                int r;

                if (folders[file->folder].replace)
                        r = renameat(file->dir_fd, file->name, p->store_fd, path) < 0 ? -errno : 0;
                else
                        r = move(file->dir_fd, file->name, p->store_fd, path);
                if (r != -ENOENT || i > 0)
                        return r;
                if (mkdirat(p->store_fd, prefix, 0700) < 0 && errno != EEXIST)
                        return -errno;
        }
}

/* Moves the files of a folder into one of the store. */
static int publish_files_of(int from_fd, int store_fd, const char *to) {
        _cleanup_free_ char *dirents = malloc(DIRENTS_SIZE);
        __attribute__((cleanup(names_done))) struct names names = {};
        _cleanup_close_ int to_fd = -1;
        int r;

        if (!dirents)
                return -ENOMEM;
        to_fd = open_directory(store_fd, to);
        if (to_fd < 0)
                return to_fd;
        r = names_read(&names, from_fd, dirents);
        for (size_t i = 0; r >= 0 && i < names.n; i++)
                r = move(from_fd, names.sorted[i], to_fd, names.sorted[i]);
        return r;
}

/* Moves a folder that the store had none for when the run began. */
static int publish_new_folder(const struct publication *p, const struct fanout *f, unsigned number) {
        _cleanup_close_ int fd = -1;
        char from[32], to[16];

        if (!f->buckets[number].is_there)
                return 0;
        (void) snprintf(to, sizeof to, "%s/%02x", f->folder, number);
        (void) snprintf(from, sizeof from, "new/%s", to);
        if (renameat2(p->staging_fd, from, p->store_fd, to, RENAME_NOREPLACE) >= 0)
                return 0;
        /* EEXIST: somebody else was quicker. EINVAL: not every file system knows the flag. */
        if (errno != EEXIST && errno != EINVAL)
                return -errno;
        if (mkdirat(p->store_fd, to, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = open_directory(p->staging_fd, from);
        return fd < 0 ? fd : publish_files_of(fd, p->store_fd, to);
}

static int publish_prefix(const struct publication *p, unsigned first) {
        int r;

        r = publish_new_folder(p, &p->new_objects, first);
        if (r >= 0)
                r = publish_new_folder(p, &p->new_trees, first);
        for (size_t i = p->starts[first]; r >= 0 && i < p->starts[first + 1]; i++)
                r = publish_file(p, &p->files[i]);
        return r;
}

static void work(void *userdata, unsigned number) {
        struct publication *p = userdata;

        (void) number;
        for (;;) {
                unsigned first = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);
                int r;

                if (first > 255)
                        return;
                r = publish_prefix(p, first);
                if (r < 0) {
                        __atomic_store_n(&p->error, r, __ATOMIC_RELAXED);
                        return;
                }
        }
}

int volt_publish(int staging_fd, int store_fd, unsigned n_threads) {
        struct publication p = { .staging_fd = staging_fd, .store_fd = store_fd };
        int r;

        if (n_threads == 0)
                return -EINVAL;
        p.new_objects.fd = p.new_trees.fd = -1;
        r = find_new_folders(&p);
        if (r >= 0)
                r = collect(&p, staging_fd);
        if (r >= 0) {
                sort_files(&p);
                run_threads(p.n_files < 64 && p.new_objects.fd < 0 ? 1 : n_threads, work, &p);
                r = p.error;
        }
        publication_done(&p);
        return r;
}
