/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

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
        int store_fd;
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
}

/* Gives a stream over a directory; none where there is none. */
static int open_stream(int dir_fd, const char *name, DIR **ret) {
        _cleanup_close_ int fd = -1;

        *ret = NULL;
        fd = RETRY_EINTR(openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        *ret = fdopendir(fd);
        if (!*ret)
                return -errno;
        (void) steal_fd(&fd);
        return 0;
}

static int collect_folder(struct publication *p, int dir_fd, unsigned folder) {
        const struct dirent *entry;
        DIR *stream;
        int r;

        r = open_stream(dir_fd, folders[folder].staged, &stream);
        if (r < 0 || !stream)
                return r;
        r = grow(&p->dir_fds, &p->dir_fds_allocated, p->n_dir_fds + 1, sizeof *p->dir_fds, 16);
        if (r >= 0) {
                int fd = fcntl(dirfd(stream), F_DUPFD_CLOEXEC, 0);

                if (fd < 0)
                        r = -errno;
                else
                        p->dir_fds[p->n_dir_fds++] = fd;
        }
        while (r >= 0 && (errno = 0, entry = readdir(stream))) {
                unsigned char digest[VOLT_DIGEST_SIZE];
                struct staged *file;

                if (strlen(entry->d_name) != 2 * VOLT_DIGEST_SIZE || !hex_to_bytes(digest, entry->d_name, sizeof digest))
                        continue;
                r = grow(&p->files, &p->files_allocated, p->n_files + 1, sizeof *p->files, 256);
                if (r < 0)
                        break;
                file = &p->files[p->n_files++];
                file->dir_fd = p->dir_fds[p->n_dir_fds - 1];
                file->folder = folder;
                memcpy(file->name, entry->d_name, sizeof file->name);
        }
        if (r >= 0 && errno != 0)
                r = -errno;
        closedir(stream);
        return r;
}

static int collect(struct publication *p, int staging_fd) {
        const struct dirent *entry;
        DIR *stream;
        int r;

        r = open_stream(staging_fd, ".", &stream);
        while (r >= 0 && stream && (errno = 0, entry = readdir(stream))) {
                _cleanup_close_ int fd = -1;

                if (entry->d_name[0] == '.')
                        continue;
                fd = RETRY_EINTR(openat(staging_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
                if (fd < 0) {
                        if (errno != ENOTDIR && errno != ELOOP)
                                r = -errno;
                        continue;
                }
                for (unsigned i = 0; r >= 0 && i < N_FOLDERS; i++)
                        r = collect_folder(p, fd, i);
        }
        if (r >= 0 && stream && errno != 0)
                r = -errno;
        if (stream)
                closedir(stream);
        return r;
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

static void work(void *userdata, unsigned number) {
        struct publication *p = userdata;

        (void) number;
        for (;;) {
                unsigned first = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);

                if (first > 255)
                        return;
                for (size_t i = p->starts[first]; i < p->starts[first + 1]; i++) {
                        int r = publish_file(p, &p->files[i]);

                        if (r < 0) {
                                __atomic_store_n(&p->error, r, __ATOMIC_RELAXED);
                                return;
                        }
                }
        }
}

int volt_publish(int staging_fd, int store_fd, unsigned n_threads) {
        struct publication p = { .store_fd = store_fd };
        int r;

        if (n_threads == 0)
                return -EINVAL;
        r = collect(&p, staging_fd);
        if (r >= 0) {
                sort_files(&p);
                run_threads(p.n_files < 64 ? 1 : n_threads, work, &p);
                r = p.error;
        }
        publication_done(&p);
        return r;
}
