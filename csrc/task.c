/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "task.h"

int tasks_init(struct tasks *t) {
        struct rlimit limit;
        int r;

        *t = (struct tasks) { .max_kept = KEPT_OPEN };
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 < KEPT_OPEN)
                t->max_kept = (unsigned) limit.rlim_cur / 4;
        r = pthread_mutex_init(&t->lock, NULL);
        if (r != 0)
                return -r;
        r = pthread_cond_init(&t->changed, NULL);
        if (r != 0)
                (void) pthread_mutex_destroy(&t->lock);
        return -r;
}

static void task_free(struct task *task) {
        buffer_done(&task->left);
        free(task);
}

void tasks_done(struct tasks *t) {
        for (struct task *task = t->left; task;) {
                struct task *child = task->left_children, *parent = task->parent;

                if (child) {
                        task->left_children = child->next;
                        task = child;
                        continue;
                }
                task_free(task);
                task = parent;
        }
        free(t->failed_path);
        (void) pthread_cond_destroy(&t->changed);
        (void) pthread_mutex_destroy(&t->lock);
}

struct task *task_new(struct task *parent, const char *name, const struct metadata *metadata,
                      const unsigned char *digest) {
        size_t name_size = strlen(name) + 1;
        struct task *task;

        task = malloc(sizeof *task + name_size + metadata->xattrs_size);
        if (!task)
                return NULL;
        *task = (struct task) {
                .parent = parent,
                .metadata = *metadata,
                .pending = 1,
                .depth = parent ? parent->depth + 1 : 0,
                .fd = -1,
        };
        memcpy(task->digest, digest, VOLT_DIGEST_SIZE);
        memcpy(task->name, name, name_size);
        if (metadata->xattrs_size > 0)
                memcpy(task->name + name_size, metadata->xattrs, metadata->xattrs_size);
        task->metadata.xattrs = (unsigned char *) task->name + name_size;
        return task;
}

void tasks_push(struct tasks *t, struct task *task) {
        if (task->parent)
                atomic_fetch_add(&task->parent->pending, 1);
        pthread_mutex_lock(&t->lock);
        task->number = ++t->n_pushed;
        task->next = t->stack;
        t->stack = task;
        /* The first one below what nobody has kept open is for this thread: another would have a long way to it. */
        if (task->next || !task->parent || !task->parent->is_far)
                pthread_cond_signal(&t->changed);
        pthread_mutex_unlock(&t->lock);
}

struct task *tasks_pop(struct tasks *t) {
        struct task *task;

        pthread_mutex_lock(&t->lock);
        while (!t->stack && !t->done)
                pthread_cond_wait(&t->changed, &t->lock);
        task = t->stack;
        if (task) {
                t->stack = task->next;
                task->next = NULL;
        }
        pthread_mutex_unlock(&t->lock);
        return task;
}

void place_done(struct place *p) {
        close_fd(p->fd);
        free(p->way);
}

static void place_move(struct place *p, int take_fd, uint64_t number) {
        close_fd(p->fd);
        p->fd = take_fd;
        p->number = number;
}

/* Goes down to a directory that nobody has kept open. */
static int place_descend(struct place *p, struct task *task) {
        _cleanup_close_ int fd = -1;
        struct task *above = task;
        size_t n = 0;
        int at, r;

        for (; above->fd < 0; above = above->parent) {
                r = grow(&p->way, &p->way_allocated, n + 1, sizeof *p->way, 64);
                if (r < 0)
                        return r;
                p->way[n++] = above;
        }
        at = above->fd;
        while (n > 0) {
                int next = RETRY_EINTR(openat(at, p->way[--n]->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));

                if (next < 0)
                        return -errno;
                close_fd(fd);
                fd = at = next;
        }
        place_move(p, steal_fd(&fd), task->number);
        return 0;
}

int task_open(struct place *p, int root_fd, const struct task *task) {
        struct task *parent = task->parent;
        int at, fd, r;

        if (!parent)
                at = root_fd;
        else if (parent->fd >= 0)
                at = parent->fd;
        else {
                if (p->fd < 0 || p->number != parent->number) {
                        r = place_descend(p, parent);
                        if (r < 0)
                                return r;
                }
                at = p->fd;
        }
        fd = RETRY_EINTR(openat(at, parent ? task->name : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        return fd < 0 ? -errno : fd;
}

int task_keep(struct tasks *t, struct task *task, int *fd) {
        struct stat st;

        if (task->fd >= 0 || task->is_far)
                return 0;
        if (atomic_fetch_add(&t->n_kept, 1) < t->max_kept) {
                task->fd = *fd;
                return 0;
        }
        atomic_fetch_sub(&t->n_kept, 1);
        if (fstat(*fd, &st) < 0)
                return -errno;
        task->dev = st.st_dev;
        task->ino = st.st_ino;
        task->is_far = true;
        return 0;
}

/* The directory above, which is not kept open. Before the metadata is set, for that may forbid it. */
static int open_parent(const struct task *task, int fd) {
        _cleanup_close_ int up = -1;
        struct stat st;

        up = RETRY_EINTR(openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (up < 0 || fstat(up, &st) < 0)
                return -errno;
        if (st.st_dev != task->parent->dev || st.st_ino != task->parent->ino)
                return -ESTALE;
        return steal_fd(&up);
}

/* Puts a task in which something is left on its parent's list. */
static void leave(struct tasks *t, struct task *task) {
        pthread_mutex_lock(&t->lock);
        if (task->parent) {
                task->next = task->parent->left_children;
                task->parent->left_children = task;
        } else
                t->left = task;
        pthread_mutex_unlock(&t->lock);
}

void task_finish(struct tasks *t, struct place *p, struct task *task, int take_fd,
                 int (*finish)(void *userdata, int fd, const struct metadata *metadata), void *userdata) {
        _cleanup_close_ int fd = take_fd;

        for (;;) {
                struct task *parent = task->parent;
                bool is_kept = task->fd >= 0, is_left;
                uint64_t number = task->number;
                int up = -1, r = 0;

                /* From here on it is somebody else's, unless this was the last. */
                if (atomic_fetch_sub(&task->pending, 1) != 1) {
                        if (is_kept)
                                fd = -1;
                        else
                                place_move(p, steal_fd(&fd), number);
                        return;
                }
                is_left = task->is_whole_left || task->left.size > 0 || task->left_children;
                if (t->result >= 0 && parent && parent->is_far) {
                        up = open_parent(task, fd);
                        r = up < 0 ? up : 0;
                }
                if (r >= 0 && t->result >= 0 && !is_left)
                        r = finish(userdata, fd, &task->metadata);
                if (r < 0)
                        tasks_fail(t, r, task, NULL);
                fd = close_fd(fd);
                if (is_kept)
                        atomic_fetch_sub(&t->n_kept, 1);
                task->fd = -1;
                if (is_left)
                        leave(t, task);
                else
                        task_free(task);
                if (!parent)
                        break;
                task = parent;
                fd = parent->fd >= 0 ? parent->fd : up;
        }
        pthread_mutex_lock(&t->lock);
        t->done = true;
        pthread_cond_broadcast(&t->changed);
        pthread_mutex_unlock(&t->lock);
}

int task_path(const struct task *task, struct buffer *path) {
        size_t size = 0, at;
        unsigned char *start;

        for (const struct task *t = task; t->parent; t = t->parent)
                size += strlen(t->name) + 1;
        at = size > 0 ? size : 1;
        start = buffer_extend(path, at);
        if (!start)
                return -ENOMEM;
        start[--at] = 0;
        for (const struct task *t = task; t->parent; t = t->parent) {
                size_t n = strlen(t->name);

                if (t != task)
                        start[--at] = '/';
                at -= n;
                memcpy(start + at, t->name, n);
        }
        return 0;
}

/* The path, with the name behind it; NULL where there is no memory for it. */
static char *failed_path(const struct task *task, const char *name) {
        struct buffer path = {};

        if (task_path(task, &path) < 0)
                goto fail;
        if (name) {
                path.size--;
                if (path.size > 0 && buffer_append(&path, "/", 1) < 0)
                        goto fail;
                if (buffer_append(&path, name, strlen(name) + 1) < 0)
                        goto fail;
        }
        return (char *) path.data;
fail:
        buffer_done(&path);
        return NULL;
}

void tasks_fail(struct tasks *t, int error, const struct task *task, const char *name) {
        int before = 0;

        if (atomic_compare_exchange_strong(&t->result, &before, error) && task)
                t->failed_path = failed_path(task, name);
}

int tasks_left(const struct tasks *t, struct buffer *ret) {
        const struct task *task = t->left;
        int r = 0;

        while (task && r >= 0) {
                r = buffer_append(ret, task->is_whole_left ? "w" : "d", 1);
                if (r >= 0)
                        r = buffer_append(ret, task->name, strlen(task->name) + 1);
                for (size_t at = 0; r >= 0 && at < task->left.size;) {
                        const char *name = (const char *) task->left.data + at;

                        r = buffer_append(ret, "e", 1);
                        if (r >= 0)
                                r = buffer_append(ret, name, strlen(name) + 1);
                        at += strlen(name) + 1;
                }
                if (task->left_children) {
                        task = task->left_children;
                        continue;
                }
                for (bool is_end = true; is_end && task && r >= 0;) {
                        if (!task->is_whole_left)
                                r = buffer_append(ret, "u", 2);
                        is_end = !task->next || !task->parent;
                        task = is_end ? task->parent : task->next;
                }
        }
        return r;
}
