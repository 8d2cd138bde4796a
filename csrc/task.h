/* SPDX-License-Identifier: Apache-2.0
 *
 * The directories of a tree that threads fill together. A directory is finished when it is filled and all below it is
 * finished: whoever comes last does it, and goes on to the one above. So the metadata of a directory is set when nothing
 * more is done below it, whatever the metadata then forbids or hands down.
 */
#ifndef VOLT_TASK_H
#define VOLT_TASK_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "record.h"
#include "util.h"

/* Directories that are kept open while there is something to do below them, in all, if that many may be. Whoever goes
 * deeper finds them again by their names, and the way back through "..". */
#define KEPT_OPEN 256U

struct task {
        struct task *parent;
        struct task *next;                /* on the stack, or in the parent's list */
        struct task *left_children;
        struct buffer left;               /* names of entries, each ended by a NUL */
        uint64_t number;
        struct metadata metadata;         /* its attributes follow the name */
        unsigned char digest[VOLT_DIGEST_SIZE];
        atomic_uint pending;              /* children that are not finished, and itself */
        unsigned depth;
        int fd;                           /* -1 while there are no children, and where too many are open */
        bool is_far;                      /* then: */
        dev_t dev;
        ino_t ino;
        bool is_whole_left;
        char name[];
};

/* A stack, so that the work is in few places at a time. */
struct tasks {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct task *stack;
        struct task *left;                /* the root, if anything is left */
        uint64_t n_pushed;
        bool done;
        unsigned max_kept;
        atomic_uint n_kept;
        atomic_int result;                /* of what failed first */
        char *failed_path;
};

/* The directory that a thread was in last: its next one is mostly below it. */
struct place {
        uint64_t number;
        int fd;                           /* -1: none */
        struct task **way;
        size_t way_allocated;
};

int tasks_init(struct tasks *t);
void tasks_done(struct tasks *t);

/* A directory to fill; parent NULL makes the root. */
struct task *task_new(struct task *parent, const char *name, const struct metadata *metadata,
                      const unsigned char *digest);

void tasks_push(struct tasks *t, struct task *task);

/* Waits for one; NULL: all is finished. */
struct task *tasks_pop(struct tasks *t);

void place_done(struct place *p);

/* Opens the directory of a task. */
int task_open(struct place *p, int root_fd, const struct task *task);

/* Has the directory that is open found by the children that are about to be pushed. The descriptor may become the
 * task's. */
int task_keep(struct tasks *t, struct task *task, int *fd);

/* Counts the task, or a child of it, as done. Whatever is finished thereby gets its metadata, by finish(). The descriptor
 * is taken over; it is -1 only if something failed. */
void task_finish(struct tasks *t, struct place *p, struct task *task, int take_fd,
                 int (*finish)(void *userdata, int fd, const struct metadata *metadata), void *userdata);

/* Ends everything; the first failure counts. name: an entry of the task's directory, or NULL. */
void tasks_fail(struct tasks *t, int error, const struct task *task, const char *name);

/* Appends the path of the task's directory below the root and a NUL. */
int task_path(const struct task *task, struct buffer *path);

/* The list of what is left, as volt_native.cdef.h has it. */
int tasks_left(const struct tasks *t, struct buffer *ret);

#endif
