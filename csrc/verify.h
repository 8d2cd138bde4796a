/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_VERIFY_H
#define VOLT_VERIFY_H

#include <pthread.h>
#include <stdatomic.h>

#include "fanout.h"
#include "record.h"
#include "sha256.h"

/* What a sound record names: the children of a directory, or the directory record and the links record of a top one. */
struct node {
        uint32_t *children;               /* by number, see record_number() */
        uint32_t n_children;
        uint16_t levels;                  /* of directories, with itself; 0 until it is known */
        uint16_t kind;                    /* enum record_kind, or NODE_DAMAGED */
};

#define NODE_DAMAGED 0xffffU

struct volt_verification {
        struct fanout objects, variants, records;
        uint32_t first_record[N_BUCKETS + 1];
        struct node *nodes;

        struct volt_job *job;
        struct failure failure;
        atomic_bool has_holes;            /* a record names what is not there, or not as it says */
        pthread_mutex_t lock;             /* of damaged */
        struct buffer damaged;
        struct volt_verified result;
};

/* What one thread has. */
struct verifier {
        struct volt_verification *v;
        struct hasher hasher;
        struct buffer record;
        uint32_t *children;
        size_t children_allocated;
};

int verify_note_damage(struct volt_verification *v, int error, const char *folder, unsigned number, const char *name);

/* Hashes and decodes the records of one bucket, looks for what they name, and notes how large it must be. */
int verify_records(struct verifier *t, struct fanout *f, unsigned number);

/* Looks at what shows only when all records are known: their kinds, and the depth. */
int verify_levels(struct volt_verification *v);

#endif
