/* SPDX-License-Identifier: Apache-2.0
 *
 * Garbage collection of a store: all is chosen before anything goes, since to remove a link changes ages and numbers of
 * links.
 */
#include <errno.h>
#include <stdatomic.h>

#include "names.h"
#include "sweep.h"
#include "threads.h"

/* The threads take one bucket after the other of the folders. */
struct pass {
        struct volt_choice *c;
        int (*work)(struct volt_choice *c, struct fanout *f, unsigned number, char *dirents);
        struct fanout *folders[3];
        size_t n_folders;
        atomic_size_t next;
};

static void pass_work(void *userdata, unsigned thread) {
        _cleanup_free_ char *dirents = malloc(DIRENTS_SIZE);
        struct pass *pass = userdata;
        struct volt_choice *c = pass->c;

        (void) thread;
        while (!failure_is_set(&c->failure)) {
                size_t task = atomic_fetch_add(&pass->next, 1);
                unsigned number = (unsigned) (task % N_BUCKETS);
                struct fanout *f;
                int r;

                if (task >= pass->n_folders * N_BUCKETS)
                        return;
                f = pass->folders[task / N_BUCKETS];
                r = !dirents ? -ENOMEM : job_is_cancelled(c->job) ? -ECANCELED : pass->work(c, f, number, dirents);
                if (r < 0)
                        failure_set(&c->failure, r, f->folder, number, "");
        }
}

static int run_pass(struct pass *pass, unsigned n_threads) {
        run_threads(n_threads, pass_work, pass);
        return pass->c->failure.error;
}

static int list_bucket(struct volt_choice *c, struct fanout *f, unsigned number, char *dirents) {
        (void) c;
        return fanout_list(f, number, dirents);
}

static double seconds(const struct timespec *t) {
        return (double) t->tv_sec + 1e-9 * (double) t->tv_nsec;
}

static uint64_t find_lost(const struct volt_choice *c, uint64_t inode) {
        size_t low = 0, high = c->n_lost;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (c->lost[middle].inode < inode)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < c->n_lost && c->lost[low].inode == inode ? c->lost[low].names : 0;
}

/* Looks at all in a bucket that nothing reaches, and tells old from young. */
static int look_at_bucket(struct volt_choice *c, struct fanout *f, unsigned number, char *dirents) {
        struct bucket *bucket = &f->buckets[number];
        _cleanup_close_ int fd = -1;

        (void) dirents;
        for (size_t i = 0; i < bucket->n; i++) {
                struct volt_stored *file = &bucket->files[i];
                char name[STORED_NAME_SIZE];
                struct stat st;

                if (file->state != STATE_UNREACHED)
                        continue;
                if (fd < 0) {
                        fd = fanout_open_bucket(f, number);
                        if (fd < 0)
                                return fd;
                }
                stored_name(f, file, name);
                if (RETRY_EINTR(fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW)) < 0) {
                        failure_set(&c->failure, -errno, f->folder, number, name);
                        return 0;
                }
                file->size = (uint64_t) st.st_size;
                if (f == &c->variants && (uint64_t) st.st_nlink > 1 + find_lost(c, st.st_ino))
                        file->state = STATE_KEPT;
                else if (seconds(f == &c->records ? &st.st_mtim : &st.st_ctim) >= c->limit)
                        file->state = STATE_YOUNG;
                else if (f != &c->records)
                        file->state = STATE_DOOMED;
        }
        return 0;
}

/* What can be read of the beginning of a record tells whether it is a top one. */
static bool begins_like_top(int dir_fd, const char *name) {
        _cleanup_close_ int fd = -1;
        unsigned char start[6];

        fd = RETRY_EINTR(openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
        return fd >= 0 && RETRY_EINTR(pread(fd, start, sizeof start, 0)) == (ssize_t) sizeof start &&
                memcmp(start + 1, "\xa4tree", 5) == 0;
}

static int doom_records(struct volt_choice *c, struct fanout *f, unsigned number, char *dirents) {
        struct bucket *bucket = &f->buckets[number];
        _cleanup_close_ int fd = -1;

        (void) c;
        (void) dirents;
        for (size_t i = 0; i < bucket->n; i++) {
                char name[STORED_NAME_SIZE];

                if (bucket->files[i].state != STATE_UNREACHED)
                        continue;
                if (fd < 0) {
                        fd = fanout_open_bucket(f, number);
                        if (fd < 0)
                                return fd;
                }
                stored_name(f, &bucket->files[i], name);
                bucket->files[i].state = begins_like_top(fd, name) ? STATE_DOOMED_TOP : STATE_DOOMED;
        }
        return 0;
}

/* Damage below what no ref reaches: half swept, or never whole. */
static bool is_damage(int error) {
        return error == -EBADMSG || error == -ENOENT;
}

/* Keeps young trees, for they may be about to get a ref. */
static int spare_young(struct volt_choice *c, struct marker *marker) {
        for (unsigned number = 0; number < N_BUCKETS; number++)
                for (size_t i = 0; i < c->records.buckets[number].n; i++) {
                        const struct volt_stored *file = &c->records.buckets[number].files[i];
                        int r;

                        if (file->state != STATE_YOUNG)
                                continue;
                        r = is_top_record(marker, file);
                        if (r > 0) {
                                r = mark_spared(marker, file->digest);
                                if (r >= 0)
                                        c->young++;
                        }
                        if (r < 0 && !is_damage(r))
                                return r;
                        if (job_is_cancelled(c->job))
                                return -ECANCELED;
                }
        return 0;
}

static int add_row(struct buffer *rows, const struct volt_stored *file) {
        int r;

        r = buffer_append(rows, file->digest, VOLT_DIGEST_SIZE);
        return r < 0 ? r : buffer_append(rows, &file->size, sizeof file->size);
}

static int add_variant(struct buffer *rows, const struct fanout *f, const struct volt_stored *file) {
        char name[2 + STORED_NAME_SIZE];
        int r;

        digest_to_hex(name, file->digest);
        stored_name(f, file, name + 2);
        r = buffer_append(rows, &file->size, sizeof file->size);
        return r < 0 ? r : buffer_append(rows, name, strlen(name) + 1);
}

/* Adds what has one of the states of doom, and counts the young. */
static int sum_up(struct volt_choice *c, const struct fanout *f, uint32_t state, bool is_last, struct buffer *rows,
                  uint64_t *n) {
        for (unsigned number = 0; number < N_BUCKETS; number++)
                for (size_t i = 0; i < f->buckets[number].n; i++) {
                        const struct volt_stored *file = &f->buckets[number].files[i];
                        int r;

                        if (file->state == STATE_YOUNG && is_last)
                                c->young++;
                        if (file->state != state)
                                continue;
                        c->result.bytes += file->size;
                        (*n)++;
                        r = f->has_suffixes ? add_variant(rows, f, file) : add_row(rows, file);
                        if (r < 0)
                                return r;
                }
        return 0;
}

static int choose(struct volt_choice *c, const unsigned char *roots, size_t n_roots,
                  const unsigned char *spared, size_t n_spared, unsigned n_threads) {
        struct pass listing = { .c = c, .work = list_bucket, .n_folders = 3,
                                .folders = { &c->records, &c->objects, &c->variants } };
        struct pass ages = { .c = c, .work = look_at_bucket, .n_folders = 1, .folders = { &c->records } };
        struct pass others = { .c = c, .work = look_at_bucket, .n_folders = 2,
                               .folders = { &c->objects, &c->variants } };
        struct pass records = { .c = c, .work = doom_records, .n_folders = 1, .folders = { &c->records } };
        struct marker marker = { .c = c };
        int r;

        r = run_pass(&listing, n_threads);
        if (r >= 0)
                r = mark_roots(c, roots, n_roots, n_threads);
        for (size_t i = 0; i < n_spared && r >= 0; i++) {
                r = mark_spared(&marker, spared + i * VOLT_DIGEST_SIZE);
                if (is_damage(r))
                        r = 0;
        }
        if (r >= 0)
                r = run_pass(&ages, n_threads);
        if (r >= 0)
                r = spare_young(c, &marker);
        marker_done(&marker);
        if (r >= 0)
                r = run_pass(&others, n_threads);
        if (r >= 0)
                r = run_pass(&records, n_threads);
        if (r >= 0)
                r = sum_up(c, &c->records, STATE_DOOMED_TOP, false, &c->chosen_records, &c->result.n_records);
        if (r >= 0)
                r = sum_up(c, &c->records, STATE_DOOMED, true, &c->chosen_records, &c->result.n_records);
        if (r >= 0)
                r = sum_up(c, &c->variants, STATE_DOOMED, true, &c->chosen_variants, &c->result.n_variants);
        if (r >= 0)
                r = sum_up(c, &c->objects, STATE_DOOMED, true, &c->chosen_objects, &c->result.n_objects);
        return r;
}

/* What was chosen stays: the caller makes a report of it, which takes memory too. */
static void drop_tables(struct volt_choice *c) {
        fanout_done(&c->objects);
        fanout_done(&c->variants);
        fanout_done(&c->records);
}

static char *failed_path(const struct volt_choice *c) {
        return c->failure.error < 0 ? strdup(c->failure.path) : NULL;
}

int volt_choose(int store_fd, const unsigned char *roots, size_t n_roots, const unsigned char *spared, size_t n_spared,
                double limit, const struct volt_lost *lost, size_t n_lost, unsigned n_threads, struct volt_job *job,
                struct volt_choice **ret, char **ret_failed_path) {
        struct volt_choice *c;
        int r;

        if (n_threads == 0)
                return -EINVAL;
        c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        c->objects.fd = c->variants.fd = c->records.fd = -1;
        c->store_fd = store_fd;
        c->limit = limit;
        c->lost = lost;
        c->n_lost = n_lost;
        c->job = job;
        r = fanout_open(&c->records, store_fd, "trees");
        if (r >= 0)
                r = fanout_open(&c->objects, store_fd, "objects");
        if (r >= 0)
                r = fanout_open(&c->variants, store_fd, "variants");
        if (r >= 0)
                r = choose(c, roots, n_roots, spared, n_spared, n_threads);
        c->job = NULL;
        c->lost = NULL;
        c->store_fd = -1;
        if (r < 0) {
                *ret_failed_path = failed_path(c);
                volt_choice_free(c);
                return r;
        }
        c->result.young = c->young;
        c->result.records = c->chosen_records.data;
        c->result.objects = c->chosen_objects.data;
        c->result.variants = c->chosen_variants.data;
        c->result.variants_size = c->chosen_variants.size;
        *ret = c;
        return 0;
}

const struct volt_chosen *volt_choice_result(const struct volt_choice *c) {
        return &c->result;
}

static int remove_from_bucket(struct volt_choice *c, struct fanout *f, unsigned number, uint32_t state) {
        struct bucket *bucket = &f->buckets[number];
        _cleanup_close_ int fd = -1;

        for (size_t i = 0; i < bucket->n; i++) {
                char name[STORED_NAME_SIZE];

                if (bucket->files[i].state != state)
                        continue;
                if (job_is_cancelled(c->job))
                        return -ECANCELED;
                if (fd < 0) {
                        fd = fanout_open_bucket(f, number);
                        if (fd < 0)
                                return fd;
                }
                stored_name(f, &bucket->files[i], name);
                if (unlinkat(fd, name, 0) < 0) {
                        failure_set(&c->failure, -errno, f->folder, number, name);
                        return 0;
                }
                job_advance(c->job, bucket->files[i].size, 1);
        }
        return 0;
}

static int remove_tops(struct volt_choice *c, struct fanout *f, unsigned number, char *dirents) {
        (void) dirents;
        return remove_from_bucket(c, f, number, STATE_DOOMED_TOP);
}

static int remove_others(struct volt_choice *c, struct fanout *f, unsigned number, char *dirents) {
        (void) dirents;
        return remove_from_bucket(c, f, number, STATE_DOOMED);
}

int volt_sweep(struct volt_choice *c, unsigned n_threads, struct volt_job *job, char **ret_failed_path) {
        struct pass passes[] = {
                { .c = c, .work = remove_tops, .n_folders = 1, .folders = { &c->records } },
                { .c = c, .work = remove_others, .n_folders = 1, .folders = { &c->records } },
                { .c = c, .work = remove_others, .n_folders = 1, .folders = { &c->variants } },
                { .c = c, .work = remove_others, .n_folders = 1, .folders = { &c->objects } },
        };
        int r = n_threads > 0 ? 0 : -EINVAL;

        c->job = job;
        for (size_t i = 0; i < sizeof passes / sizeof passes[0] && r >= 0; i++)
                r = run_pass(&passes[i], n_threads);
        c->job = NULL;
        if (r < 0)
                *ret_failed_path = failed_path(c);
        drop_tables(c);
        return r;
}

void volt_choice_free(struct volt_choice *c) {
        if (!c)
                return;
        drop_tables(c);
        buffer_done(&c->chosen_records);
        buffer_done(&c->chosen_objects);
        buffer_done(&c->chosen_variants);
        free(c);
}
