/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"
#include "walker.h"

#define OPEN_LEVELS 32U

struct walk_frame {
        int fd;              /* -1 while it is closed to save descriptors */
        dev_t dev;
        ino_t ino;
        struct names names;
        size_t next;
};

static void frame_done(struct walk_frame *frame) {
        close_fd(frame->fd);
        names_done(&frame->names);
}

void walker_done(struct walker *w) {
        while (w->n_frames > 0)
                frame_done(&w->frames[--w->n_frames]);
        free(w->frames);
        free(w->dirents);
}

/* Makes an open directory the innermost frame. Takes the descriptor over. */
static int push(struct walker *w, int take_fd, struct stat *ret_st) {
        struct walk_frame frame = { .fd = take_fd };
        struct stat st;
        int r;

        r = fstat(frame.fd, &st) < 0 ? -errno : names_read(&frame.names, frame.fd, w->dirents);
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

        *w = (struct walker) { .dirents = malloc(DIRENTS_SIZE) };
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

                if (frame->next == frame->names.n) {
                        w->failed = NULL;
                        r = pop(w);
                        if (r < 0)
                                return r;
                        *ret_event = WALK_LEAVE;
                        return 0;
                }
                w->failed = frame->names.sorted[frame->next++];
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
                size += strlen(w->frames[i].names.sorted[w->frames[i].next - 1]) + 1;
        path = malloc(size + 1);
        if (!path)
                return NULL;
        for (size_t i = 0; i + 1 < w->n_frames; i++) {
                at += (size_t) (stpcpy(path + at, w->frames[i].names.sorted[w->frames[i].next - 1]) - (path + at));
                path[at++] = '/';
        }
        if (w->failed)
                at += (size_t) (stpcpy(path + at, w->failed) - (path + at));
        else if (at > 0)
                at--;
        path[at] = 0;
        return path;
}
