/* SPDX-License-Identifier: Apache-2.0
 *
 * The mark phase of gc, on the tables of what is there: a record or an object is kept by a state in its row.
 */
#include <errno.h>
#include <pthread.h>

#include "sweep.h"
#include "threads.h"

/* Records that one thread takes at a time. */
#define TURN 8U

struct marking {
        struct volt_choice *c;
        pthread_mutex_t lock;             /* of all below */
        pthread_cond_t more;
        struct volt_stored **pending;
        size_t n_pending, allocated;
        unsigned n_busy;
        int error;
};

/* What one thread has found, and not yet given to the others. */
struct found {
        struct volt_stored **records;
        size_t n, allocated;
};

static void keep_object(struct volt_choice *c, const unsigned char *digest) {
        struct volt_stored *object = fanout_find(&c->objects, digest);

        /* That one is missing is for verify to say. */
        if (object)
                __atomic_store_n(&object->state, STATE_KEPT, __ATOMIC_RELAXED);
}

/* Calls add() with the digest of each record that this one names, and keeps the objects that it names, but only when all
 * of it is sound. */
static int look_at(struct volt_choice *c, const struct buffer *data,
                   int (*add)(void *userdata, const unsigned char *digest), void *userdata) {
        struct directory_reader reader;
        enum record_kind kind;
        struct entry entry;
        struct tree tree;
        int r;

        r = record_kind(data->data, data->size, &kind);
        if (r < 0)
                return r;
        if (kind == RECORD_LINKS)
                return links_check(data->data, data->size);
        if (kind == RECORD_TREE) {
                r = tree_decode(data->data, data->size, &tree);
                if (r >= 0)
                        r = add(userdata, tree.digest);
                if (r >= 0 && tree.links)
                        r = add(userdata, tree.links);
                return r;
        }
        r = directory_check(data->data, data->size);
        if (r >= 0)
                r = directory_open(data->data, data->size, &reader);
        if (r < 0)
                return r;
        while ((r = directory_next(&reader, &entry)) > 0) {
                if (entry.type == 'f')
                        keep_object(c, entry.digest);
                else if (entry.type == 'd') {
                        r = add(userdata, entry.digest);
                        if (r < 0)
                                return r;
                }
        }
        return r;
}

struct adding {
        struct volt_choice *c;
        struct found *found;
};

/* Adds a record that nobody has reached before. */
static int add_found(void *userdata, const unsigned char *digest) {
        struct adding *adding = userdata;
        struct found *found = adding->found;
        struct volt_stored *record = fanout_find(&adding->c->records, digest);

        if (!record)
                return -ENOENT;
        if (__atomic_exchange_n(&record->state, STATE_KEPT, __ATOMIC_RELAXED) == STATE_KEPT)
                return 0;
        if (grow(&found->records, &found->allocated, found->n + 1, sizeof *found->records, 64) < 0)
                return -ENOMEM;
        found->records[found->n++] = record;
        return 0;
}

/* Takes the next few records, and waits while others may still find some. 0: there will be none. */
static size_t take(struct marking *m, struct volt_stored **ret) {
        size_t n = 0;

        (void) pthread_mutex_lock(&m->lock);
        while (m->n_pending == 0 && m->n_busy > 0 && m->error == 0)
                (void) pthread_cond_wait(&m->more, &m->lock);
        if (m->error == 0) {
                while (n < TURN && m->n_pending > 0)
                        ret[n++] = m->pending[--m->n_pending];
                if (n > 0)
                        m->n_busy++;
        }
        (void) pthread_mutex_unlock(&m->lock);
        return n;
}

static void give(struct marking *m, struct found *found, int error) {
        (void) pthread_mutex_lock(&m->lock);
        m->n_busy--;
        if (error >= 0 && found->n > 0) {
                if (grow(&m->pending, &m->allocated, m->n_pending + found->n, sizeof *m->pending, 256) < 0)
                        error = -ENOMEM;
                else {
                        memcpy(m->pending + m->n_pending, found->records, found->n * sizeof *found->records);
                        m->n_pending += found->n;
                }
        }
        if (error < 0 && m->error == 0)
                m->error = error;
        found->n = 0;
        (void) pthread_cond_broadcast(&m->more);
        (void) pthread_mutex_unlock(&m->lock);
}

static void mark_work(void *userdata, unsigned thread) {
        struct marking *m = userdata;
        _cleanup_buffer_ struct buffer record = {};
        struct volt_stored *turn[TURN];
        struct found found = {};
        size_t n;

        (void) thread;
        while ((n = take(m, turn)) > 0) {
                struct adding adding = { .c = m->c, .found = &found };
                int r = job_is_cancelled(m->c->job) ? -ECANCELED : 0;

                for (size_t i = 0; i < n && r >= 0; i++) {
                        r = read_record(m->c->store_fd, turn[i]->digest, &record);
                        if (r >= 0)
                                r = look_at(m->c, &record, add_found, &adding);
                }
                give(m, &found, r);
        }
        free(found.records);
}

int mark_roots(struct volt_choice *c, const unsigned char *roots, size_t n_roots, unsigned n_threads) {
        struct marking m = { .c = c };
        struct found found = {};
        struct adding adding = { .c = c, .found = &found };
        int r = 0;

        for (size_t i = 0; i < n_roots && r >= 0; i++)
                r = add_found(&adding, roots + i * VOLT_DIGEST_SIZE);
        if (r < 0) {
                free(found.records);
                return r;
        }
        m.pending = found.records;
        m.n_pending = found.n;
        m.allocated = found.allocated;
        (void) pthread_mutex_init(&m.lock, NULL);
        (void) pthread_cond_init(&m.more, NULL);
        run_threads(n_threads, mark_work, &m);
        (void) pthread_cond_destroy(&m.more);
        (void) pthread_mutex_destroy(&m.lock);
        free(m.pending);
        return m.error;
}

static int add_pending(void *userdata, const unsigned char *digest) {
        struct marker *m = userdata;

        return buffer_append(&m->pending, digest, VOLT_DIGEST_SIZE);
}

int mark_spared(struct marker *m, const unsigned char *digest) {
        int r;

        m->pending.size = 0;
        r = add_pending(m, digest);
        while (r >= 0 && m->pending.size > 0) {
                unsigned char next[VOLT_DIGEST_SIZE];
                struct volt_stored *record;

                m->pending.size -= sizeof next;
                memcpy(next, m->pending.data + m->pending.size, sizeof next);
                record = fanout_find(&m->c->records, next);
                if (!record)
                        return -ENOENT;
                if (record->state == STATE_KEPT)
                        continue;
                r = read_record(m->c->store_fd, next, &m->record);
                if (r >= 0)
                        r = look_at(m->c, &m->record, add_pending, m);
                if (r >= 0)
                        record->state = STATE_KEPT;
        }
        return r;
}

int is_top_record(struct marker *m, const struct volt_stored *file) {
        enum record_kind kind;
        struct tree tree;
        int r;

        r = read_record(m->c->store_fd, file->digest, &m->record);
        if (r >= 0)
                r = record_kind(m->record.data, m->record.size, &kind);
        if (r < 0)
                return r;
        if (kind != RECORD_TREE)
                return 0;
        r = tree_decode(m->record.data, m->record.size, &tree);
        return r < 0 ? r : 1;
}

void marker_done(struct marker *m) {
        buffer_done(&m->record);
        buffer_done(&m->pending);
}
