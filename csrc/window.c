/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <sys/sysmacros.h>

#include "ingest.h"

static char type_of(mode_t mode) {
        switch (mode & S_IFMT) {
        case S_IFREG:
                return 'f';
        case S_IFDIR:
                return 'd';
        case S_IFLNK:
                return 'l';
        case S_IFCHR:
                return 'c';
        case S_IFBLK:
                return 'b';
        case S_IFIFO:
                return 'p';
        default:
                return 0;
        }
}

static int add_name(struct window *w, const char *name, size_t size, size_t *ret) {
        *ret = w->names.size;
        return buffer_append(&w->names, name, size);
}

/* The directory that the walker is in, as one of the window's. */
static int current_folder(struct ingest *in, uint32_t *ret) {
        struct window *w = &in->window;
        struct folder folder = in->levels[in->n_levels - 1];
        size_t size = in->path.size > 0 ? in->path.size - 1 : 0;
        int r;

        if (w->n_folders > 0) {
                const struct folder *last = &w->folders[w->n_folders - 1];

                if (last->path_size == size && last->ino == folder.ino && last->dev == folder.dev &&
                    memcmp(w->names.data + last->path, in->path.data, size) == 0) {
                        *ret = (uint32_t) (w->n_folders - 1);
                        return 0;
                }
        }
        folder.path_size = size;
        r = add_name(w, (char *) in->path.data, size, &folder.path);
        if (r >= 0)
                r = grow(&w->folders, &w->folders_allocated, w->n_folders + 1, sizeof folder, 64);
        if (r < 0)
                return r;
        *ret = (uint32_t) w->n_folders;
        w->folders[w->n_folders++] = folder;
        return 0;
}

/* Goes one level down. */
static int descend(struct ingest *in, const char *name, const struct stat *st) {
        struct folder level = { .dev = st->st_dev, .ino = st->st_ino };
        int r;

        r = grow(&in->levels, &in->levels_allocated, in->n_levels + 1, sizeof *in->levels, 64);
        if (r >= 0 && in->n_levels > 0) {
                r = buffer_append(&in->path, name, strlen(name));
                if (r >= 0)
                        r = buffer_append(&in->path, "/", 1);
        }
        if (r < 0)
                return r;
        level.path_size = in->path.size;
        in->levels[in->n_levels++] = level;
        return 0;
}

static void ascend(struct ingest *in) {
        in->n_levels--;
        in->path.size = in->n_levels > 0 ? in->levels[in->n_levels - 1].path_size : 0;
}

static int compare_paths(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static bool is_mounted(const struct ingest *in, const char *path) {
        return in->request->n_mounts > 0 &&
                bsearch(&path, in->request->mounts, in->request->n_mounts, sizeof path, compare_paths);
}

static bool is_excluded(const struct ingest *in, const char *path, size_t size, size_t name_size) {
        const struct volt_ingest *request = in->request;

        for (size_t i = 0; i < request->n_globs; i++) {
                size_t skip = request->glob_whole[i] ? 0 : size - name_size;

                if (volt_glob_matches(request->globs + request->glob_starts[i], path + skip, size - skip))
                        return true;
        }
        return false;
}

/* 1 for what is not stored, with a note where it was not asked for. */
static int is_left_out(struct ingest *in, const struct walk_item *found, const char *path, size_t size, bool mounted) {
        const struct stat *st = &found->st;
        enum volt_note what;
        int r;

        if (is_excluded(in, path, size, strlen(found->name)))
                return 1;
        if (st->st_dev == in->store_dev && st->st_ino == in->store_ino)
                what = VOLT_NOTE_STORE;
        else if (mounted && !S_ISDIR(st->st_mode))
                what = VOLT_NOTE_MOUNTED;
        else if (type_of(st->st_mode) == 0)
                what = VOLT_NOTE_SOCKET;
        else if (S_ISCHR(st->st_mode) && st->st_rdev == 0)
                what = VOLT_NOTE_WHITEOUT;
        else
                return 0;
        r = ingest_note(in, what, path, size);
        return r < 0 ? r : 1;
}

static int read_target(struct ingest *in, const struct walk_item *found, struct item *item) {
        char target[4096];
        ssize_t n;

        n = readlinkat(found->dir_fd, found->name, target, sizeof target);
        if (n < 0 && (errno == ENOENT || errno == EINVAL)) {
                item->reason = VOLT_INGEST_CHANGED;
                item->error = -ESTALE;
                return 0;
        }
        if (n < 0)
                return -errno;
        item->target_size = (size_t) n;
        return add_name(&in->window, target, (size_t) n, &item->target);
}

/* Of a directory that is open, or of what cannot be opened. The walking thread is number 0. */
static int read_xattrs(struct ingest *in, const struct walk_item *found, int fd, struct item *item) {
        struct reader *reader = &in->readers[0];
        int r;

        item->xattrs = reader->xattrs.size;
        if (fd >= 0)
                r = xattrs_read(&reader->stager.xattrs, fd, &reader->xattrs, &item->n_xattrs, &item->left_out);
        else {
                char path[64 + 256];

                (void) snprintf(path, sizeof path, "/proc/self/fd/%d/%s", found->dir_fd, found->name);
                r = xattrs_read_path(&reader->stager.xattrs, path, &reader->xattrs, &item->n_xattrs, &item->left_out);
        }
        item->xattrs_size = reader->xattrs.size - item->xattrs;
        return r;
}

static void add_file(struct ingest *in, struct item *item) {
        const struct statcache_entry *known = statcache_find(&in->cache, item->st.st_dev, item->st.st_ino);

        if (known && statcache_matches(known, &item->st)) {
                item->is_cached = true;
                memcpy(item->digest, known->digest, VOLT_DIGEST_SIZE);
        }
        in->window.files[in->window.n_files++] = (uint32_t) (item - in->window.items);
}

/* Enters a directory, and adds it, unless it is another file system's; then it is stored as an empty one. */
static int add_directory(struct ingest *in, struct walk_item *found, struct item *item, bool mounted) {
        bool enters = !mounted && !(in->request->one_file_system && found->st.st_dev != in->root_dev);
        int fd = -1, r;

        if (enters) {
                if (in->n_levels == MAX_DEPTH) {
                        item->reason = VOLT_INGEST_TOO_DEEP;
                        item->error = -ENAMETOOLONG;
                        return 0;
                }
                r = walker_enter(&in->walker, found, &fd);
                if (r < 0)
                        return r;
                item->st = found->st;
                r = descend(in, found->name, &found->st);
                if (r < 0)
                        return r;
        }
        r = read_xattrs(in, found, fd, item);
        if (r < 0 || enters)
                return r;
        in->window.items[in->window.n_items + 1] = (struct item) { .event = WALK_LEAVE };
        in->window.n_items++;
        return 0;
}

/* Adds an entry of the walk to the window, or leaves it out. */
static int add(struct ingest *in, struct walk_item *found) {
        struct window *w = &in->window;
        struct item *item = &w->items[w->n_items];
        size_t name_size = strlen(found->name), path_size = in->path.size + name_size;
        bool mounted;
        int r;

        r = buffer_append(&in->path, found->name, name_size + 1);
        if (r < 0)
                return r;
        in->path.size -= name_size + 1;
        mounted = is_mounted(in, (char *) in->path.data);
        r = is_left_out(in, found, (char *) in->path.data, path_size, mounted);
        if (r != 0)
                return r;

        *item = (struct item) { .event = WALK_ENTRY, .type = type_of(found->st.st_mode), .st = found->st };
        item->name_size = name_size;
        r = current_folder(in, &item->folder);
        if (r >= 0)
                r = add_name(w, found->name, name_size, &item->name);
        if (r < 0)
                return r;
        if (item->type == 'd') {
                r = add_directory(in, found, item, mounted);
                if (r == -ENOENT)
                        return 0;
        } else if (found->st.st_nlink > 1 && find_inode(in, &found->st))
                item->is_alias = true;
        else if (item->type == 'f')
                add_file(in, item);
        else if (item->type == 'l')
                r = read_target(in, found, item);
        else
                r = read_xattrs(in, found, -1, item);
        if (r < 0)
                return r;
        w->n_items++;
        return 0;
}

int window_start(struct ingest *in) {
        struct window *w = &in->window;
        struct item *item = &w->items[0];
        struct walk_item root;
        int r;

        r = walker_start(&in->walker, in->request->root_fd, &root);
        if (r < 0)
                return r;
        in->root_dev = root.st.st_dev;
        *item = (struct item) { .event = WALK_ENTRY, .type = 'd', .st = root.st };
        r = read_xattrs(in, &root, in->request->root_fd, item);
        if (r >= 0)
                r = descend(in, "", &root.st);
        w->n_items = 1;
        return r;
}

int window_fill(struct ingest *in) {
        struct window *w = &in->window;

        w->n_items = w->n_files = w->n_folders = w->names.size = 0;
        for (unsigned i = 0; i < in->n_threads; i++)
                in->readers[i].xattrs.size = 0;
        /* A directory that is not entered takes two. */
        while (w->n_items + 2 <= WINDOW && !in->at_end) {
                struct walk_item found;
                enum walk_event event;
                int r;

                if (job_is_cancelled(in->job))
                        return -ECANCELED;
                r = walker_next(&in->walker, &event, &found);
                if (r >= 0 && event == WALK_ENTRY)
                        r = add(in, &found);
                if (r < 0) {
                        in->result->failed_path = walker_failed_path(&in->walker);
                        return r;
                }
                if (event == WALK_LEAVE) {
                        w->items[w->n_items++] = (struct item) { .event = WALK_LEAVE };
                        ascend(in);
                }
                in->at_end = event == WALK_END;
        }
        return 0;
}
