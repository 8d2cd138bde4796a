/* SPDX-License-Identifier: Apache-2.0
 *
 * Verification of a store. First all names are listed. Then records are read: they say how large most objects are, so
 * only what no record names is asked for its size. Then all else is hashed: large files first, so that no thread is left
 * with one at the end, then bucket by bucket.
 */
#include <errno.h>
#include <stdio.h>

#include "names.h"
#include "threads.h"
#include "verify.h"

/* Bytes; a file of this size is a task of its own. */
#define LARGE (8UL * 1024 * 1024)

struct large {
        const struct fanout *fanout;
        struct volt_stored *file;
};

/* What several threads do with all buckets of some folders. */
struct pass {
        struct volt_verification *v;
        int (*work)(struct verifier *t, struct fanout *f, unsigned number);
        struct fanout *folders[3];
        size_t n_folders;
        struct large *large;              /* files that come before the buckets */
        size_t n_large;
        atomic_size_t next;
};

int verify_note_damage(struct volt_verification *v, int error, const char *folder, unsigned number, const char *name) {
        char path[STORE_PATH_SIZE + STORED_NAME_SIZE];
        int32_t code = error;
        int r, n;

        n = snprintf(path, sizeof path, "%s/%02x/%s", folder, number, name);
        (void) pthread_mutex_lock(&v->lock);
        r = buffer_append(&v->damaged, &code, sizeof code);
        if (r >= 0)
                r = buffer_append(&v->damaged, path, (size_t) n + 1);
        (void) pthread_mutex_unlock(&v->lock);
        return r;
}

static int list_bucket(struct verifier *t, struct fanout *f, unsigned number) {
        _Static_assert(DIRENTS_SIZE <= HASHER_BUFFER_SIZE, "a hasher's buffer must take names");
        return fanout_list(f, number, (char *) t->hasher.buffer);
}

static int measure_bucket(struct verifier *t, struct fanout *f, unsigned number) {
        (void) t;
        return fanout_measure(f, number);
}

/* Hashes an open file of a known size. That a read comes back short at the known end saves asking for the end again. All
 * threads write to the job, so of most files it hears once. */
static int hash_open_file(struct verifier *t, int fd, uint64_t size, unsigned char *ret_digest) {
        struct hasher *h = &t->hasher;
        uint64_t done = 0, told = 0;

        if (!EVP_DigestInit_ex(h->context, h->md, NULL))
                return -ENOMEM;
        for (;;) {
                ssize_t n;

                if (job_is_cancelled(t->v->job))
                        return -ECANCELED;
                n = RETRY_EINTR(read(fd, h->buffer, HASHER_BUFFER_SIZE));
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                if (!EVP_DigestUpdate(h->context, h->buffer, (size_t) n))
                        return -ENOMEM;
                done += (uint64_t) n;
                if (done == size && (size_t) n < HASHER_BUFFER_SIZE)
                        break;
                job_advance(t->v->job, done - told, 0);
                told = done;
        }
        job_advance(t->v->job, done - told, 1);
        return EVP_DigestFinal_ex(h->context, ret_digest, NULL) ? 0 : -ENOMEM;
}

/* Compares the size that a file has with the one that was noted for it. */
static void check_size(struct verifier *t, const struct fanout *f, uint64_t noted, uint64_t size) {
        if (f == &t->v->objects && size != noted)
                atomic_store_explicit(&t->v->has_holes, true, memory_order_relaxed);
}

static int look_at_open_file(struct verifier *t, const struct fanout *f, int fd, struct volt_stored *file) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        check_size(t, f, file->size, (uint64_t) st.st_size);
        file->size = (uint64_t) st.st_size;
        file->inode = st.st_ino;
        return S_ISREG(st.st_mode) ? 0 : -EINVAL;
}

/* Of what cannot be read, or must not be opened; returns why. */
static int look_at_unread_file(struct verifier *t, const struct fanout *f, int dir_fd, struct volt_stored *file,
                               int error) {
        uint64_t noted = file->size;

        (void) fanout_stat(f, dir_fd, file);
        check_size(t, f, noted, file->is_gone ? 0 : file->size);
        return file->is_irregular ? -EINVAL : error;
}

static int hash_file(struct verifier *t, const struct fanout *f, int dir_fd, struct volt_stored *file) {
        unsigned char digest[VOLT_DIGEST_SIZE];
        _cleanup_close_ int fd = -1;
        char name[STORED_NAME_SIZE];
        int r = -EINVAL;

        if (file->is_gone)
                return 0;
        stored_name(f, file, name);
        if (!file->is_irregular) {
                fd = openat_noatime(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
                r = fd < 0 ? -errno : look_at_open_file(t, f, fd, file);
                if (r >= 0)
                        r = hash_open_file(t, fd, file->size, digest);
        }
        if (r == -ENOMEM || r == -ECANCELED)
                return r;
        if (fd < 0) {
                r = look_at_unread_file(t, f, dir_fd, file, r);
                if (file->is_gone)
                        return 0;
        }
        if (r >= 0 && memcmp(digest, file->digest, sizeof digest) == 0)
                return 0;
        if (r < 0)
                job_advance(t->v->job, 0, 1);
        return verify_note_damage(t->v, r, f->folder, file->digest[0], name);
}

static int hash_large(struct verifier *t, const struct large *large) {
        _cleanup_close_ int fd = fanout_open_bucket(large->fanout, large->file->digest[0]);

        return fd < 0 ? fd : hash_file(t, large->fanout, fd, large->file);
}

static int hash_bucket(struct verifier *t, struct fanout *f, unsigned number) {
        struct bucket *bucket = &f->buckets[number];
        _cleanup_close_ int fd = -1;

        if (bucket->n == 0)
                return 0;
        fd = fanout_open_bucket(f, number);
        if (fd < 0)
                return fd;
        for (size_t i = 0; i < bucket->n; i++) {
                int r;

                if (bucket->files[i].is_large)
                        continue;
                r = hash_file(t, f, fd, &bucket->files[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void pass_work(void *userdata, unsigned thread) {
        struct pass *pass = userdata;
        struct volt_verification *v = pass->v;
        struct verifier t = { .v = v };
        _cleanup_sha256_ sha256_t md = sha256_new();
        int ready = hasher_init(&t.hasher, md);

        (void) thread;
        while (!failure_is_set(&v->failure)) {
                size_t task = atomic_fetch_add(&pass->next, 1);
                const struct fanout *folder;
                unsigned number;
                int r;

                if (task < pass->n_large) {
                        folder = pass->large[task].fanout;
                        number = pass->large[task].file->digest[0];
                        r = ready < 0 ? ready : hash_large(&t, &pass->large[task]);
                } else {
                        struct fanout *f;

                        task -= pass->n_large;
                        if (task >= pass->n_folders * N_BUCKETS)
                                break;
                        folder = f = pass->folders[task / N_BUCKETS];
                        number = (unsigned) (task % N_BUCKETS);
                        r = ready < 0 ? ready : job_is_cancelled(v->job) ? -ECANCELED : pass->work(&t, f, number);
                }
                if (r < 0)
                        failure_set(&v->failure, r, folder->folder, number, "");
        }
        hasher_done(&t.hasher);
        buffer_done(&t.record);
        free(t.children);
}

static int run_pass(struct pass *pass, unsigned n_threads) {
        run_threads(n_threads, pass_work, pass);
        return pass->v->failure.error;
}

static int by_size(const void *a, const void *b) {
        const struct large *x = a, *y = b;

        return (x->file->size < y->file->size) - (x->file->size > y->file->size);
}

static int number_records(struct volt_verification *v) {
        for (unsigned i = 0; i < N_BUCKETS; i++) {
                if (v->records.buckets[i].n > UINT32_MAX - v->first_record[i])
                        return -EOVERFLOW;
                v->first_record[i + 1] = v->first_record[i] + (uint32_t) v->records.buckets[i].n;
        }
        v->nodes = calloc((size_t) v->first_record[N_BUCKETS] + 1, sizeof *v->nodes);
        return v->nodes ? 0 : -ENOMEM;
}

static uint64_t add_up(const struct volt_verification *v) {
        const struct fanout *folders[] = { &v->objects, &v->variants };
        uint64_t bytes = 0;

        for (size_t i = 0; i < 2 * N_BUCKETS; i++) {
                const struct bucket *bucket = &folders[i / N_BUCKETS]->buckets[i % N_BUCKETS];

                for (size_t j = 0; j < bucket->n; j++)
                        bytes += bucket->files[j].size;
        }
        return bytes;
}

/* Picks the large files. */
static int pick_large(struct pass *pass) {
        size_t allocated = 0;

        for (size_t i = 0; i < pass->n_folders * N_BUCKETS; i++) {
                const struct fanout *f = pass->folders[i / N_BUCKETS];
                const struct bucket *bucket = &f->buckets[i % N_BUCKETS];

                for (size_t j = 0; j < bucket->n; j++) {
                        struct volt_stored *file = &bucket->files[j];

                        if (file->size < LARGE)
                                continue;
                        if (grow(&pass->large, &allocated, pass->n_large + 1, sizeof *pass->large, 64) < 0)
                                return -ENOMEM;
                        file->is_large = true;
                        pass->large[pass->n_large++] = (struct large) { .fanout = f, .file = file };
                }
        }
        if (pass->n_large > 0)
                qsort(pass->large, pass->n_large, sizeof *pass->large, by_size);
        return 0;
}

static int verify_run(struct volt_verification *v, int store_fd, unsigned n_threads) {
        /* Names of records first: whatever runs meanwhile has linked what a record names before it. */
        struct pass listing = {
                .v = v, .work = list_bucket, .folders = { &v->records, &v->objects, &v->variants }, .n_folders = 3,
        };
        struct pass reading = { .v = v, .work = verify_records, .folders = { &v->records }, .n_folders = 1 };
        struct pass measuring = {
                .v = v, .work = measure_bucket, .folders = { &v->objects, &v->variants }, .n_folders = 2,
        };
        struct pass hashing = {
                .v = v, .work = hash_bucket, .folders = { &v->objects, &v->variants }, .n_folders = 2,
        };
        int r;

        r = fanout_open(&v->records, store_fd, "trees");
        if (r >= 0)
                r = fanout_open(&v->objects, store_fd, "objects");
        if (r >= 0)
                r = fanout_open(&v->variants, store_fd, "variants");
        if (r >= 0)
                r = run_pass(&listing, n_threads);
        if (r >= 0)
                r = number_records(v);
        if (r >= 0)
                r = run_pass(&reading, n_threads);
        if (r >= 0)
                r = run_pass(&measuring, n_threads);
        if (r >= 0)
                r = pick_large(&hashing);
        if (r >= 0) {
                __atomic_store_n(&v->job->total, add_up(v), __ATOMIC_RELAXED);
                r = run_pass(&hashing, n_threads);
        }
        free(hashing.large);
        if (r >= 0)
                r = verify_levels(v);
        if (r < 0)
                return r;
        fanout_drop_gone(&v->objects);
        fanout_drop_gone(&v->variants);
        v->result.bytes = add_up(v);
        v->result.objects = fanout_count(&v->objects);
        v->result.records = fanout_count(&v->records);
        v->result.is_whole = !v->has_holes;
        v->result.damaged = v->damaged.data;
        v->result.damaged_size = v->damaged.size;
        return 0;
}

int volt_verify(int store_fd, unsigned n_threads, struct volt_job *job,
                struct volt_verification **ret, char **ret_failed_path) {
        struct volt_verification *v;
        int r;

        if (n_threads == 0)
                return -EINVAL;
        v = calloc(1, sizeof *v);
        if (!v)
                return -ENOMEM;
        v->objects.fd = v->variants.fd = v->records.fd = -1;
        v->job = job;
        (void) pthread_mutex_init(&v->lock, NULL);
        r = verify_run(v, store_fd, n_threads);
        v->job = NULL;
        if (r < 0) {
                *ret_failed_path = v->failure.error < 0 ? strdup(v->failure.path) : NULL;
                volt_verification_free(v);
                return r;
        }
        *ret = v;
        return 0;
}

const struct volt_verified *volt_verification_result(const struct volt_verification *v) {
        return &v->result;
}

const struct volt_stored *volt_verification_files(const struct volt_verification *v, bool variants,
                                                  unsigned prefix, size_t *ret_n) {
        const struct bucket *bucket = &(variants ? &v->variants : &v->objects)->buckets[prefix % N_BUCKETS];

        *ret_n = bucket->n;
        return bucket->files;
}

void volt_verification_free(struct volt_verification *v) {
        if (!v)
                return;
        for (uint32_t i = 0; v->nodes && i < v->first_record[N_BUCKETS]; i++)
                free(v->nodes[i].children);
        free(v->nodes);
        fanout_done(&v->objects);
        fanout_done(&v->variants);
        fanout_done(&v->records);
        buffer_done(&v->damaged);
        (void) pthread_mutex_destroy(&v->lock);
        free(v);
}
