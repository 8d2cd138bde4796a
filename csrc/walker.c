/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <sys/syscall.h>

#include "walker.h"

#define OPEN_LEVELS 32U
#define GETDENTS_SIZE (64U * 1024U)

struct walk_frame {
        int fd;              /* -1 while it is closed to save descriptors */
        dev_t dev;
        ino_t ino;
        char *data;          /* the names, each ended by a NUL */
        char **names;        /* in byte order, into data */
        size_t n_names;
        size_t next;
};

static void frame_done(struct walk_frame *frame) {
        close_fd(frame->fd);
        free(frame->data);
        free(frame->names);
}

void walker_done(struct walker *w) {
        while (w->n_frames > 0)
                frame_done(&w->frames[--w->n_frames]);
        free(w->frames);
        free(w->dirents);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static bool is_dot_or_dot_dot(const char *name) {
        return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

/* Reads all names of the directory into the frame and sorts them. */
static int frame_read_names(struct walker *w, struct walk_frame *frame) {
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

/* Makes an open directory the innermost frame. Takes the descriptor over. */
static int push(struct walker *w, int take_fd, struct stat *ret_st) {
        struct walk_frame frame = { .fd = take_fd };
        struct stat st;
        int r;

        r = fstat(frame.fd, &st) < 0 ? -errno : frame_read_names(w, &frame);
        if (r >= 0)
                r = grow(&w->frames, &w->frames_allocated, w->n_frames + 1, sizeof frame, 16);
        if (r < 0) {
                frame_done(&frame);
                return r;
        }
        frame.dev = st.st_dev;
        frame.ino = st.st_ino;
        if (w->n_frames >= OPEN_LEVELS) {
                struct walk_frame *outer = &w->frames[w->n_frames - OPEN_LEVELS];

                outer->fd = close_fd(outer->fd);
        }
        w->frames[w->n_frames++] = frame;
        *ret_st = st;
        return 0;
}

/* Drops the innermost frame. Its parent may have been closed; ".." leads to it unless somebody moved a directory. */
static int pop(struct walker *w) {
        struct walk_frame *frame = &w->frames[w->n_frames - 1], *parent = frame - 1;
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

int walker_start(struct walker *w, int root_fd, struct walk_item *ret_root) {
        int fd, r;

        *w = (struct walker) { .dirents = malloc(GETDENTS_SIZE) };
        if (!w->dirents)
                return -ENOMEM;
        /* A descriptor of our own: reading names moves the offset, which the caller's shares with its duplicates. */
        fd = openat_noatime(root_fd, ".", O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return -errno;
        *ret_root = (struct walk_item) { .name = "", .dir_fd = root_fd };
        r = push(w, fd, &ret_root->st);
        return r;
}

int walker_next(struct walker *w, enum walk_event *ret_event, struct walk_item *ret_item) {
        while (w->n_frames > 0) {
                struct walk_frame *frame = &w->frames[w->n_frames - 1];
                int r;

                if (frame->next == frame->n_names) {
                        w->failed = NULL;
                        r = pop(w);
                        if (r < 0)
                                return r;
                        *ret_event = WALK_LEAVE;
                        return 0;
                }
                w->failed = frame->names[frame->next++];
                if (RETRY_EINTR(fstatat(frame->fd, w->failed, &ret_item->st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT)) < 0) {
                        if (errno == ENOENT)
                                continue;
                        return -errno;
                }
                ret_item->name = w->failed;
                ret_item->depth = w->n_frames;
                ret_item->dir_fd = frame->fd;
                *ret_event = WALK_ENTRY;
                return 0;
        }
        *ret_event = WALK_END;
        return 0;
}

int walker_enter(struct walker *w, struct walk_item *item, int *ret_fd) {
        int fd, r;

        fd = openat_noatime(item->dir_fd, item->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        r = push(w, fd, &item->st);
        if (r < 0)
                return r;
        *ret_fd = fd;
        return 0;
}

char *walker_failed_path(const struct walker *w) {
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
