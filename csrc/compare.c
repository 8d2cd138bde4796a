/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparison of linked checkouts with their trees. Directories are taken last in, first out, and what is found first is
 * told, so that the Python twin tells the same.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "chain.h"
#include "names.h"
#include "threads.h"
#include "verify.h"

struct folder {
        unsigned char digest[VOLT_DIGEST_SIZE];
        char *path;                       /* below the checkout, with a NUL */
};

struct comparison {
        const struct volt_verification *v;
        int store_fd, links_fd;
        const unsigned char *digests;
        size_t n_digests;
        struct volt_job *job;
        atomic_size_t next;
        atomic_int error;
        pthread_mutex_t lock;             /* of differences */
        struct buffer differences;
};

/* What one thread has. */
struct comparer {
        struct comparison *c;
        struct chain chain;
        struct buffer record, path;
        struct names names;
        struct folder *pending;
        size_t n_pending, pending_allocated;
        char *dirents;
};

static void drop_pending(struct comparer *t) {
        while (t->n_pending > 0)
                free(t->pending[--t->n_pending].path);
}

static int push_folder(struct comparer *t, const unsigned char *digest, const void *path, size_t size) {
        struct folder folder = { .path = malloc(size + 1) };

        if (!folder.path || grow(&t->pending, &t->pending_allocated, t->n_pending + 1, sizeof folder, 64) < 0) {
                free(folder.path);
                return -ENOMEM;
        }
        memcpy(folder.digest, digest, sizeof folder.digest);
        memcpy(folder.path, path, size);
        folder.path[size] = 0;
        t->pending[t->n_pending++] = folder;
        return 0;
}

/* Whether the inode is that of an object or a variant with this content. */
static bool is_stored(const struct volt_verification *v, const unsigned char *digest, uint64_t inode) {
        const struct volt_stored *file = fanout_find(&v->objects, digest);
        const struct bucket *variants = &v->variants.buckets[digest[0]];

        if (file && file->inode == inode)
                return true;
        file = fanout_find(&v->variants, digest);
        for (; file && file < variants->files + variants->n; file++) {
                if (memcmp(file->digest, digest, VOLT_DIGEST_SIZE) != 0)
                        return false;
                if (file->inode == inode)
                        return true;
        }
        return false;
}

static mode_t type_of(const struct entry *entry) {
        switch (entry->type) {
        case 'f':
                return S_IFREG;
        case 'd':
                return S_IFDIR;
        case 'l':
                return S_IFLNK;
        case 'p':
                return S_IFIFO;
        default:
                return 0;         /* a device: left out of a checkout without root, and then not compared */
        }
}

/* 1: what is there is like the entry; 0: it is not. */
static int is_like(const struct comparer *t, int fd, const char *name, const struct entry *entry) {
        mode_t type = type_of(entry);
        char target[PATH_MAX];
        struct stat st;
        ssize_t n;

        if (RETRY_EINTR(fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT)) < 0)
                return -errno;
        if (type != 0 && (st.st_mode & S_IFMT) != type)
                return 0;
        switch (entry->type) {
        case 'f':
                return entry->size > 0 ? is_stored(t->c->v, entry->digest, st.st_ino) : st.st_size == 0;
        case 'l':
                n = readlinkat(fd, name, target, sizeof target);
                if (n < 0)
                        return -errno;
                return (size_t) n == entry->target_size && memcmp(target, entry->target, entry->target_size) == 0;
        default:
                return 1;
        }
}

/* The path of an entry, in t->path. */
static int set_path(struct comparer *t, const char *folder, const void *name, size_t size) {
        t->path.size = 0;
        if (*folder && (buffer_append(&t->path, folder, strlen(folder)) < 0 || buffer_append(&t->path, "/", 1) < 0))
                return -ENOMEM;
        return buffer_append(&t->path, name, size);
}

static int differs(struct comparer *t, const char *folder, const void *name, size_t size, int what) {
        int r;

        r = set_path(t, folder, name, size);
        return r < 0 ? r : what;
}

/* Compares the open directory with its record, which is in t->record. */
static int compare_entries(struct comparer *t, int fd, const char *folder) {
        struct directory_reader reader;
        const char *extra = NULL;
        struct entry entry;
        size_t at = 0;
        int r;

        r = directory_open(t->record.data, t->record.size, &reader);
        if (r < 0)
                return -EBADMSG;
        while ((r = directory_next(&reader, &entry)) > 0) {
                char name[256];

                entry_name(name, &entry);
                for (; at < t->names.n && strcmp(t->names.sorted[at], name) < 0; at++)
                        extra = extra ? extra : t->names.sorted[at];
                if (at < t->names.n && strcmp(t->names.sorted[at], name) == 0) {
                        at++;
                        r = is_like(t, fd, name, &entry);
                        if (r < 0)
                                return r;
                        if (r == 0)
                                return differs(t, folder, name, entry.name_size, VOLT_OTHER);
                } else if (type_of(&entry) != 0)
                        return differs(t, folder, name, entry.name_size, VOLT_MISSING);
                if (entry.type == 'd') {
                        r = set_path(t, folder, name, entry.name_size);
                        if (r >= 0)
                                r = push_folder(t, entry.digest, t->path.data, t->path.size);
                        if (r < 0)
                                return r;
                }
        }
        if (r < 0)
                return r;
        if (!extra && at < t->names.n)
                extra = t->names.sorted[at];
        return extra ? differs(t, folder, extra, strlen(extra), VOLT_EXTRA) : 0;
}

/* Reads a record. What is wrong with records is told elsewhere: all of that is -EBADMSG here. */
static int have_record(struct comparer *t, const unsigned char *digest) {
        int r;

        r = read_record(t->c->store_fd, digest, &t->record);
        return r < 0 && r != -ENOMEM ? -EBADMSG : r;
}

static int compare_folder(struct comparer *t, const struct folder *folder) {
        _cleanup_close_ int fd = -1;
        int r, path_fd;

        path_fd = chain_open(&t->chain, folder->path, strlen(folder->path));
        if (path_fd >= 0) {
                fd = openat_noatime(path_fd, ".", O_RDONLY | O_DIRECTORY);
                path_fd = fd < 0 ? -errno : 0;
        }
        /* A directory that its owner may not read. */
        if (path_fd == -EACCES || path_fd == -EPERM)
                return 0;
        r = path_fd < 0 ? path_fd : names_read(&t->names, fd, t->dirents);
        if (r >= 0)
                r = have_record(t, folder->digest);
        /* Whole, before anything is said about what it names. */
        if (r >= 0)
                r = directory_check(t->record.data, t->record.size);
        return r < 0 ? r : compare_entries(t, fd, folder->path);
}

static int compare_folders(struct comparer *t, int root_fd, const unsigned char *digest) {
        struct tree tree;
        int r;

        r = have_record(t, digest);
        if (r >= 0)
                r = tree_decode(t->record.data, t->record.size, &tree);
        if (r >= 0)
                r = push_folder(t, tree.digest, "", 0);
        if (r < 0)
                return r;
        chain_init(&t->chain, root_fd);
        while (t->n_pending > 0) {
                struct folder folder = t->pending[--t->n_pending];

                r = job_is_cancelled(t->c->job) ? -ECANCELED : compare_folder(t, &folder);
                free(folder.path);
                if (r != 0)
                        break;
        }
        chain_done(&t->chain);
        drop_pending(t);
        return r;
}

static int compare_one(struct comparer *t, size_t number) {
        const unsigned char *digest = t->c->digests + number * VOLT_DIGEST_SIZE;
        char path[2 * VOLT_DIGEST_SIZE + sizeof "/root"];
        _cleanup_close_ int fd = -1;
        uint32_t index = (uint32_t) number;
        int32_t what;
        int r;

        t->path.size = 0;
        digest_to_hex(path, digest);
        (void) strcpy(path + 2 * VOLT_DIGEST_SIZE, "/root");
        fd = RETRY_EINTR(openat(t->c->links_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        what = fd < 0 ? -errno : compare_folders(t, fd, digest);
        if (what == -ENOMEM || what == -ECANCELED)
                return what;
        if (what == 0 || what == -EBADMSG)
                return 0;
        if (what < 0)
                t->path.size = 0;
        (void) pthread_mutex_lock(&t->c->lock);
        r = buffer_append(&t->c->differences, &index, sizeof index);
        if (r >= 0)
                r = buffer_append(&t->c->differences, &what, sizeof what);
        if (r >= 0)
                r = buffer_append(&t->c->differences, t->path.data, t->path.size);
        if (r >= 0)
                r = buffer_append(&t->c->differences, "", 1);
        (void) pthread_mutex_unlock(&t->c->lock);
        return r;
}

static void compare_work(void *userdata, unsigned thread) {
        struct comparison *c = userdata;
        struct comparer t = { .c = c, .dirents = malloc(DIRENTS_SIZE) };

        (void) thread;
        while (atomic_load(&c->error) == 0) {
                size_t number = atomic_fetch_add(&c->next, 1);
                int r;

                if (number >= c->n_digests)
                        break;
                r = t.dirents ? compare_one(&t, number) : -ENOMEM;
                if (r < 0)
                        atomic_store(&c->error, r);
                job_advance(c->job, 0, 1);
        }
        buffer_done(&t.record);
        names_done(&t.names);
        buffer_done(&t.path);
        free(t.pending);
        free(t.dirents);
}

int volt_compare(const struct volt_verification *v, int store_fd, int links_fd,
                 const unsigned char *digests, size_t n_digests, unsigned n_threads, struct volt_job *job,
                 unsigned char **ret_differences, size_t *ret_size) {
        struct comparison c = {
                .v = v,
                .store_fd = store_fd,
                .links_fd = links_fd,
                .digests = digests,
                .n_digests = n_digests,
                .job = job,
        };

        if (n_threads == 0 || n_digests > UINT32_MAX)
                return -EINVAL;
        (void) pthread_mutex_init(&c.lock, NULL);
        run_threads(n_threads, compare_work, &c);
        (void) pthread_mutex_destroy(&c.lock);
        if (c.error < 0) {
                buffer_done(&c.differences);
                return c.error;
        }
        *ret_size = c.differences.size;
        *ret_differences = c.differences.data;
        return 0;
}
