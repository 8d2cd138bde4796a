/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_DIGEST_SET_H
#define VOLT_DIGEST_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "volt_native.h"

/* Digests, in a hash table with open addressing; their own bytes are as good as any hash. Not for several threads. */
struct digest_set {
        unsigned char (*slots)[VOLT_DIGEST_SIZE];    /* all zeros: free */
        size_t n, n_slots;
        bool have_zero;
};

void digest_set_done(struct digest_set *s);

bool digest_set_has(const struct digest_set *s, const unsigned char *digest);

/* 1 if it is new, 0 if it was there. */
int digest_set_add(struct digest_set *s, const unsigned char *digest);

#endif
