/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_SWEEP_H
#define VOLT_SWEEP_H

#include "fanout.h"
#include "record.h"

/* The state of a file during gc. */
enum {
        STATE_UNREACHED,
        STATE_KEPT,
        STATE_DOOMED,
        STATE_DOOMED_TOP,                 /* a top record: goes first */
        STATE_YOUNG,                      /* nothing reaches it, but it is young */
};

struct volt_choice {
        struct fanout objects, variants, records;
        int store_fd;                     /* borrowed, until volt_choose() returns */
        double limit;
        const struct volt_lost *lost;
        size_t n_lost;

        struct volt_job *job;
        struct failure failure;
        uint64_t young;
        struct buffer chosen_records, chosen_objects, chosen_variants;
        struct volt_chosen result;
};

/* Marks what roots reach, on several threads. */
int mark_roots(struct volt_choice *c, const unsigned char *roots, size_t n_roots, unsigned n_threads);

/* The same for what may be damaged: what comes after the damage stays unmarked. Records are taken last in, first out, so
 * that the Python twin keeps the same. */
struct marker {
        struct volt_choice *c;
        struct buffer record, pending;    /* pending: digests */
};

int mark_spared(struct marker *m, const unsigned char *digest);

/* Whether it is a top record that can be read. */
int is_top_record(struct marker *m, const struct volt_stored *file);

void marker_done(struct marker *m);

#endif
