/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree walk. One frame per level lies on the heap, so that neither the C stack nor PATH_MAX bounds the depth; only
 * the deepest OPEN_LEVELS frames keep their directory open, the ones above are opened again through "..".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"
#include "volt_native.h"

#define OPEN_LEVELS 32U
#define GETDENTS_SIZE (64U * 1024U)

struct frame {
        int fd;              /* -1 while it is closed to save descriptors */
        dev_t dev;
        ino_t ino;
        char *data;          /* the names, each ended by a NUL */
        char **names;        /* in byte order, into data */
        size_t n_names;
        size_t next;
};

struct walk {
        struct frame *frames;
        size_t n_frames, frames_allocated;

        unsigned char *records;
        size_t records_size, records_allocated;

        char *dirents;       /* GETDENTS_SIZE bytes */
        const char *failed;  /* the name below the innermost frame that an error is about; NULL: that frame itself */
};

static void frame_done(struct frame *frame) {
        close_fd(frame->fd);
        free(frame->data);
        free(frame->names);
}

static void walk_done(struct walk *w) {
        while (w->n_frames > 0)
                frame_done(&w->frames[--w->n_frames]);
        free(w->frames);
        free(w->records);
        free(w->dirents);
}

#define _cleanup_walk_ __attribute__((cleanup(walk_done)))

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static bool is_dot_or_dot_dot(const char *name) {
        return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

/* Reads all names of the directory into the frame and sorts them. */
static int frame_read_names(struct walk *w, struct frame *frame) {
        size_t size = 0, allocated = 0;
        char *name;
        int r;

        for (;;) {
                long n = RETRY_EINTR(syscall(SYS_getdents64, frame->fd, w->dirents, GETDENTS_SIZE));

                if (n < 0 && errno == ENOENT)   /* removed since it was opened */
                        break;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                for (long at = 0; at < n;) {
                        const struct dirent64 *entry = (const struct dirent64 *) (w->dirents + at);
                        size_t name_size = strlen(entry->d_name) + 1;

                        at += entry->d_reclen;
                        if (is_dot_or_dot_dot(entry->d_name))
                                continue;
                        r = grow(&frame->data, &allocated, size + name_size, 1, 1024);
                        if (r < 0)
                                return r;
                        memcpy(frame->data + size, entry->d_name, name_size);
                        size += name_size;
                        frame->n_names++;
                }
        }

        if (frame->n_names == 0)
                return 0;
        frame->names = calloc(frame->n_names, sizeof(char *));
        if (!frame->names)
                return -ENOMEM;
        name = frame->data;
        for (size_t i = 0; i < frame->n_names; i++) {
                frame->names[i] = name;
                name += strlen(name) + 1;
        }
        qsort(frame->names, frame->n_names, sizeof(char *), compare_names);
        return 0;
}

static int walk_emit(struct walk *w, const struct stat *st, const char *name) {
        size_t name_size = strlen(name);
        size_t size = (sizeof(struct volt_walk_record) + name_size + 7) & ~(size_t) 7;
        struct volt_walk_record *record;
        size_t need;
        int r;

        if (__builtin_add_overflow(w->records_size, size, &need))
                return -ENOMEM;
        r = grow(&w->records, &w->records_allocated, need, 1, 64 * 1024);
        if (r < 0)
                return r;
        record = (struct volt_walk_record *) (w->records + w->records_size);
        *record = (struct volt_walk_record) {
                .size = st->st_size,
                .mtime_sec = st->st_mtim.tv_sec,
                .ctime_sec = st->st_ctim.tv_sec,
                .blocks = st->st_blocks,
                .dev = st->st_dev,
                .ino = st->st_ino,
                .nlink = st->st_nlink,
                .rdev = st->st_rdev,
                .mtime_nsec = (uint32_t) st->st_mtim.tv_nsec,
                .ctime_nsec = (uint32_t) st->st_ctim.tv_nsec,
                .mode = st->st_mode,
                .uid = st->st_uid,
                .gid = st->st_gid,
                .depth = (uint32_t) w->n_frames,
                .name_size = (uint32_t) name_size,
        };
        memset(record + 1, 0, size - sizeof *record);
        memcpy(record + 1, name, name_size);
        w->records_size = need;
        return 0;
}

/* Emits the open directory and, if it holds anything, makes it the innermost frame. Takes the descriptor over. */
static int walk_enter(struct walk *w, int take_fd, const char *name) {
        struct frame frame = { .fd = take_fd };
        struct stat st;
        int r;

        if (fstat(frame.fd, &st) < 0) {
                r = -errno;
                goto fail;
        }
        frame.dev = st.st_dev;
        frame.ino = st.st_ino;
        r = walk_emit(w, &st, name);
        if (r < 0)
                goto fail;
        r = frame_read_names(w, &frame);
        if (r < 0)
                goto fail;
        if (frame.n_names == 0) {
                frame_done(&frame);
                return 0;
        }

        r = grow(&w->frames, &w->frames_allocated, w->n_frames + 1, sizeof frame, 16);
        if (r < 0)
                goto fail;
        if (w->n_frames >= OPEN_LEVELS) {
                struct frame *outer = &w->frames[w->n_frames - OPEN_LEVELS];

                outer->fd = close_fd(outer->fd);
        }
        w->frames[w->n_frames++] = frame;
        return 0;

fail:
        frame_done(&frame);
        return r;
}

/* Drops the innermost frame. Its parent may have been closed; ".." leads to it unless somebody moved a directory. */
static int walk_leave(struct walk *w) {
        struct frame *frame = &w->frames[w->n_frames - 1], *parent = frame - 1;
        _cleanup_close_ int fd = -1;
        struct stat st;

        if (w->n_frames > 1 && parent->fd < 0) {
                fd = openat_noatime(frame->fd, "..", O_RDONLY | O_DIRECTORY);
                if (fd < 0 || fstat(fd, &st) < 0)
                        return -errno;
                if (st.st_dev != parent->dev || st.st_ino != parent->ino)
                        return -ESTALE;
                parent->fd = steal_fd(&fd);
        }
        frame_done(frame);
        w->n_frames--;
        return 0;
}

static int walk_entry(struct walk *w, const struct frame *dir, const char *name, bool one_file_system) {
        struct stat st;
        int fd;

        if (RETRY_EINTR(fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT)) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISDIR(st.st_mode) || (one_file_system && st.st_dev != w->frames[0].dev))
                return walk_emit(w, &st, name);
        fd = openat_noatime(dir->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        return walk_enter(w, fd, name);
}

/* The path of the entry that failed, relative to the root. */
static char *walk_failed_path(const struct walk *w) {
        size_t size = w->failed ? strlen(w->failed) + 1 : 1, at = 0;
        char *path;

        for (size_t i = 0; i + 1 < w->n_frames; i++)
                size += strlen(w->frames[i].names[w->frames[i].next - 1]) + 1;
        path = malloc(size + 1);
        if (!path)
                return NULL;
        for (size_t i = 0; i + 1 < w->n_frames; i++) {
                at += (size_t) (stpcpy(path + at, w->frames[i].names[w->frames[i].next - 1]) - (path + at));
                path[at++] = '/';
        }
        if (w->failed)
                at += (size_t) (stpcpy(path + at, w->failed) - (path + at));
        else if (at > 0)
                at--;
        path[at] = 0;
        return path;
}

static int walk_run(struct walk *w, int root_fd, bool one_file_system) {
        int fd, r;

        w->dirents = malloc(GETDENTS_SIZE);
        if (!w->dirents)
                return -ENOMEM;
        /* A descriptor of our own: reading names moves the offset, which the caller's shares with its duplicates. */
        fd = openat_noatime(root_fd, ".", O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return -errno;
        r = walk_enter(w, fd, "");
        if (r < 0)
                return r;

        while (w->n_frames > 0) {
                struct frame *frame = &w->frames[w->n_frames - 1];

                if (frame->next == frame->n_names) {
                        w->failed = NULL;
                        r = walk_leave(w);
                } else {
                        w->failed = frame->names[frame->next++];
                        r = walk_entry(w, frame, w->failed, one_file_system);
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

int volt_walk(int root_fd, bool one_file_system,
              unsigned char **ret_records, size_t *ret_records_size, char **ret_failed_path) {
        _cleanup_walk_ struct walk w = {};
        int r;

        r = walk_run(&w, root_fd, one_file_system);
        if (r < 0) {
                *ret_failed_path = walk_failed_path(&w);
                return r;
        }
        *ret_records_size = w.records_size;
        *ret_records = STEAL_POINTER(w.records);
        return 0;
}

void volt_free(void *pointer) {
        free(pointer);
}
