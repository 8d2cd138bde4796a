/* SPDX-License-Identifier: Apache-2.0
 *
 * A stat cache that anybody may have written: everything that is found in it lies within it.
 */
#include "fuzz.h"
#include "statcache.h"

static void look_at(const struct statcache *c, const struct statcache_entry *e) {
        const unsigned char *end = c->data.data + c->data.size;
        const struct stat st = { .st_dev = e->dev, .st_ino = e->ino, .st_size = e->size };
        unsigned sum = 0;

        expect((const unsigned char *) (e + 1) <= end && e->xattrs_size <= (size_t) (end - (const unsigned char *) (e + 1)));
        for (uint32_t i = 0; i < e->xattrs_size; i++)
                sum += ((const unsigned char *) (e + 1))[i];
        (void) statcache_matches(e, &st);
        expect(sum < UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct statcache cache __attribute__((cleanup(statcache_done))) = {};

        cache.data.data = malloc(size + 1);
        expect(cache.data.data);
        if (size > 0)
                memcpy(cache.data.data, data, size);
        cache.data.size = cache.data.allocated = size;
        expect(statcache_index(&cache) == 0);
        for (size_t at = 0; at + 16 <= size; at += 8) {
                const struct statcache_entry *e;
                uint64_t identity[2];

                memcpy(identity, data + at, sizeof identity);
                e = statcache_find(&cache, identity[0], identity[1]);
                if (e) {
                        expect(e->dev == identity[0] && e->ino == identity[1]);
                        look_at(&cache, e);
                }
        }
        return 0;
}
