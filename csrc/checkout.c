/* SPDX-License-Identifier: Apache-2.0
 *
 * The checkout. Threads take directories from a stack: one reads the record, makes what it lists, pushes the
 * directories among that, and sets the metadata in the end.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "copier.h"
#include "job.h"
#include "linker.h"
#include "make.h"
#include "store.h"
#include "task.h"
#include "threads.h"

/* Entries between two reports of progress. */
#define TURN 64U

struct checkout {
        struct tasks tasks;
        int store_fd, objects_fd, root_fd;
        int mode;
        atomic_bool may_reflink;
        const EVP_MD *md;
        const struct volt_owner *owner;
        const char **grouped;             /* sorted */
        size_t n_grouped;
        unsigned max_links;
        struct volt_job *job;
        struct volt_checkout_report report;   /* guarded by the lock of the tasks */
        struct left_out left_out;
};

struct worker {
        struct checkout *run;
        struct maker maker;
        struct linker linker;
        struct place place;
        struct buffer record, path;
        uint64_t files, bytes, linked, reflinked;
        uint64_t told_files, told_bytes;
};

static void worker_done(struct worker *w) {
        maker_done(&w->maker);
        linker_done(&w->linker);
        place_done(&w->place);
        buffer_done(&w->record);
        buffer_done(&w->path);
}

static void tell(struct worker *w) {
        job_advance(w->run->job, w->bytes - w->told_bytes, w->files - w->told_files);
        w->told_bytes = w->bytes;
        w->told_files = w->files;
}

static int compare_paths(const void *key, const void *item) {
        return strcmp(key, *(const char *const *) item);
}

/* Whether an entry is one of several names of one inode. */
static int is_grouped(struct worker *w, const struct task *task, const char *name) {
        const struct checkout *run = w->run;
        int r;

        if (run->n_grouped == 0)
                return 0;
        w->path.size = 0;
        r = task_path(task, &w->path);
        if (r < 0)
                return r;
        w->path.size--;
        if (w->path.size > 0 && buffer_append(&w->path, "/", 1) < 0)
                return -ENOMEM;
        r = buffer_append(&w->path, name, strlen(name) + 1);
        if (r < 0)
                return r;
        return bsearch(w->path.data, run->grouped, run->n_grouped, sizeof *run->grouped, compare_paths) != NULL;
}

static int make_child(struct worker *w, struct task *task, int *fd, const char *name, const struct entry *entry) {
        struct task *child;
        int r;

        if (mkdirat(*fd, name, filling_mode(&w->maker, &entry->metadata)) < 0)
                return -errno;
        r = task_keep(&w->run->tasks, task, fd);
        if (r < 0)
                return r;
        child = task_new(task, name, &entry->metadata, entry->digest);
        if (!child)
                return -ENOMEM;
        tasks_push(&w->run->tasks, child);
        return 1;
}

static int make_file(struct worker *w, int fd, const char *name, const struct entry *entry) {
        uint64_t foreign_owners = w->maker.left_out.owners;
        struct checkout *run = w->run;
        struct metadata metadata;
        bool reflinked = false;
        int r;

        r = metadata_applicable(run->owner, &entry->metadata, &w->maker.scratch, &w->maker.left_out, &metadata);
        if (r < 0)
                return r;
        if (run->mode == VOLT_CHECKOUT_LINK)
                r = linker_link(&w->linker, entry->digest, entry->size, &metadata, fd, name);
        else
                r = copy_object(run->objects_fd, entry, &metadata, fd, name, run->mode == VOLT_CHECKOUT_REFLINK,
                                &run->may_reflink, w->linker.hasher.buffer, &w->maker.left_out, &reflinked);
        if (r == 0)
                w->maker.left_out.owners = foreign_owners;    /* whoever makes it counts it */
        if (r > 0 && run->mode == VOLT_CHECKOUT_LINK)
                w->linked++;
        if (r > 0 && reflinked)
                w->reflinked++;
        return r;
}

/* 0: left to the caller. */
static int make(struct worker *w, struct task *task, int *fd, const char *name, const struct entry *entry) {
        bool has_content;
        int r;

        if (entry->type == 'd')
                return make_child(w, task, fd, name, entry);
        has_content = entry->type == 'f' && entry->size > 0;
        if (!has_content || w->run->mode != VOLT_CHECKOUT_LINK) {
                r = is_grouped(w, task, name);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        if (has_content)
                r = make_file(w, *fd, name, entry);
        else {
                r = make_entry(&w->maker, *fd, entry);
                if (r == 0)
                        return 1;    /* left out, not left */
        }
        if (r > 0 && entry->type == 'f') {
                w->files++;
                w->bytes += entry->size;
        }
        return r;
}

/* Whether the record could be read, and is one. If not, the caller will say what is wrong with it. */
static bool have_record(struct worker *w, const struct task *task) {
        return task->depth < MAX_DEPTH && read_record(w->run->store_fd, task->digest, &w->record) >= 0 &&
                directory_check(w->record.data, w->record.size) >= 0;
}

static void fill(struct worker *w, struct task *task, int *fd) {
        struct tasks *tasks = &w->run->tasks;
        struct directory_reader reader;
        struct entry entry;
        char name[256];
        int r;

        if (!have_record(w, task)) {
                task->is_whole_left = true;
                return;
        }
        r = directory_open(w->record.data, w->record.size, &reader);
        for (unsigned i = 1; r >= 0 && (r = directory_next(&reader, &entry)) > 0; i++) {
                if (i % TURN == 0)
                        tell(w);
                entry_name(name, &entry);
                r = job_is_cancelled(w->run->job) ? -ECANCELED : make(w, task, fd, name, &entry);
                if (r == 0)
                        r = buffer_append(&task->left, name, strlen(name) + 1);
                if (r < 0)
                        tasks_fail(tasks, r, task, name);
                if (tasks->result < 0)
                        break;
        }
        tell(w);
}

static int finish(void *userdata, int fd, const struct metadata *metadata) {
        struct worker *w = userdata;

        return finish_directory(&w->maker, fd, metadata);
}

static void work(void *userdata, unsigned number) {
        struct checkout *run = userdata;
        struct worker w = {
                .run = run,
                .maker.owner = run->owner,
                .place.fd = -1,
        };
        struct task *task;
        int r;

        (void) number;
        r = linker_init(&w.linker, run->store_fd, run->objects_fd, run->max_links, run->md);
        while ((task = tasks_pop(&run->tasks))) {
                int fd = -1;

                if (r < 0)
                        tasks_fail(&run->tasks, r, NULL, NULL);
                if (run->tasks.result >= 0) {
                        fd = task_open(&w.place, run->root_fd, task);
                        if (fd < 0)
                                tasks_fail(&run->tasks, fd, task, NULL);
                        else
                                fill(&w, task, &fd);
                }
                task_finish(&run->tasks, &w.place, task, fd < 0 ? -1 : fd, finish, &w);
        }

        pthread_mutex_lock(&run->tasks.lock);
        run->report.files += w.files;
        run->report.bytes += w.bytes;
        run->report.linked += w.linked;
        run->report.reflinked += w.reflinked;
        r = left_out_merge(&run->left_out, &w.maker.left_out);
        pthread_mutex_unlock(&run->tasks.lock);
        if (r < 0)
                tasks_fail(&run->tasks, r, NULL, NULL);
        worker_done(&w);
}

static int split_grouped(struct checkout *run, const char *grouped, size_t size) {
        size_t n = 0;

        for (size_t at = 0; at < size; at += strlen(grouped + at) + 1)
                n++;
        if (n == 0)
                return 0;
        run->grouped = calloc(n, sizeof *run->grouped);
        if (!run->grouped)
                return -ENOMEM;
        for (size_t at = 0; at < size; at += strlen(grouped + at) + 1)
                run->grouped[run->n_grouped++] = grouped + at;
        return 0;
}

static int push_root(struct checkout *run, const unsigned char *digest) {
        _cleanup_buffer_ struct buffer record = {};
        struct task *root;
        struct tree tree;
        int r;

        r = read_record(run->store_fd, digest, &record);
        if (r >= 0)
                r = tree_decode(record.data, record.size, &tree);
        if (r < 0)
                return r;
        root = task_new(NULL, "", &tree.metadata, tree.digest);
        if (!root)
                return -ENOMEM;
        tasks_push(&run->tasks, root);
        return 0;
}

static int report(struct checkout *run, struct volt_checkout_report *ret) {
        _cleanup_buffer_ struct buffer left = {};
        int r;

        r = tasks_left(&run->tasks, &left);
        if (r < 0)
                return r;
        *ret = run->report;
        ret->foreign_owners = run->left_out.owners;
        ret->devices = run->left_out.devices;
        ret->refused_xattrs_size = run->left_out.xattrs.size;
        ret->refused_xattrs = (char *) STEAL_POINTER(run->left_out.xattrs.data);
        ret->left_size = left.size;
        ret->left = STEAL_POINTER(left.data);
        return 0;
}

int volt_checkout(int store_fd, int root_fd, const unsigned char *digest, int mode,
                  const char *grouped, size_t grouped_size, const struct volt_owner *owner, unsigned max_links,
                  unsigned n_threads, struct volt_job *job,
                  struct volt_checkout_report *ret_report, char **ret_failed_path) {
        _cleanup_sha256_ sha256_t md = sha256_new();
        _cleanup_close_ int objects_fd = -1;
        struct checkout run = {
                .store_fd = store_fd,
                .root_fd = root_fd,
                .mode = mode,
                .may_reflink = mode == VOLT_CHECKOUT_AUTO || mode == VOLT_CHECKOUT_REFLINK,
                .md = md,
                .owner = owner,
                .max_links = max_links,
                .job = job,
        };
        int r;

        if (!md)
                return -ENOMEM;
        objects_fd = RETRY_EINTR(openat(store_fd, "objects", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (objects_fd < 0 && errno != ENOENT)    /* without any object, each is missing */
                return -errno;
        run.objects_fd = objects_fd;
        r = tasks_init(&run.tasks);
        if (r < 0)
                return r;
        r = split_grouped(&run, grouped, grouped_size);
        if (r >= 0)
                r = push_root(&run, digest);
        if (r >= 0) {
                run_threads(n_threads, work, &run);
                r = run.tasks.result;
        }
        if (r >= 0)
                r = report(&run, ret_report);
        else
                *ret_failed_path = STEAL_POINTER(run.tasks.failed_path);
        tasks_done(&run.tasks);
        left_out_done(&run.left_out);
        free(run.grouped);
        return r;
}
