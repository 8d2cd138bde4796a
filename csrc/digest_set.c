/* SPDX-License-Identifier: Apache-2.0 */
#include "digest_set.h"
#include "util.h"

static const unsigned char zero[VOLT_DIGEST_SIZE];

void digest_set_done(struct digest_set *s) {
        free(s->slots);
        *s = (struct digest_set) {};
}

/* The slot that has the digest, or the free one that it belongs into. */
static unsigned char *find_slot(unsigned char (*slots)[VOLT_DIGEST_SIZE], size_t n_slots, const unsigned char *digest) {
        size_t at;

        memcpy(&at, digest, sizeof at);
        for (at &= n_slots - 1;; at = (at + 1) & (n_slots - 1))
                if (memcmp(slots[at], digest, VOLT_DIGEST_SIZE) == 0 || memcmp(slots[at], zero, VOLT_DIGEST_SIZE) == 0)
                        return slots[at];
}

bool digest_set_has(const struct digest_set *s, const unsigned char *digest) {
        if (memcmp(digest, zero, VOLT_DIGEST_SIZE) == 0)
                return s->have_zero;
        return s->n_slots > 0 && memcmp(find_slot(s->slots, s->n_slots, digest), digest, VOLT_DIGEST_SIZE) == 0;
}

static int make_room(struct digest_set *s) {
        unsigned char (*slots)[VOLT_DIGEST_SIZE];
        size_t n_slots = s->n_slots > 0 ? 2 * s->n_slots : 1024;

        if (s->n + 1 <= s->n_slots / 4 * 3)
                return 0;
        slots = calloc(n_slots, sizeof *slots);
        if (!slots)
                return -ENOMEM;
        for (size_t i = 0; i < s->n_slots; i++)
                if (memcmp(s->slots[i], zero, VOLT_DIGEST_SIZE) != 0)
                        memcpy(find_slot(slots, n_slots, s->slots[i]), s->slots[i], VOLT_DIGEST_SIZE);
        free(s->slots);
        s->slots = slots;
        s->n_slots = n_slots;
        return 0;
}

int digest_set_add(struct digest_set *s, const unsigned char *digest) {
        unsigned char *slot;
        int r;

        if (memcmp(digest, zero, VOLT_DIGEST_SIZE) == 0) {
                r = !s->have_zero;
                s->have_zero = true;
                return r;
        }
        r = make_room(s);
        if (r < 0)
                return r;
        slot = find_slot(s->slots, s->n_slots, digest);
        if (memcmp(slot, zero, VOLT_DIGEST_SIZE) != 0)
                return 0;
        memcpy(slot, digest, VOLT_DIGEST_SIZE);
        s->n++;
        return 1;
}
