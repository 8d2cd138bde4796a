/* SPDX-License-Identifier: Apache-2.0 */
#include "small_store.h"
#include "volt_native.h"

#define NEVER 0.0                         /* nothing is younger than */
#define EVER 9e9

/* Two trees that share "sub". */
struct sample {
        struct small_store store;
        unsigned char shared[32], only_one[32], only_two[32];
        unsigned char sub[32], one_root[32], two_root[32], one[32], two[32];
};

static void sample_open(struct sample *t) {
        const struct child below[] = { { .name = "b", .type = 'f', .size = 6, .digest = t->shared } };
        struct child children[] = {
                { .name = "a", .type = 'f', .size = 3, .digest = t->only_one },
                { .name = "sub", .type = 'd', .digest = t->sub },
        };

        store_open(&t->store);
        put_object(&t->store, "shared", t->shared);
        put_object(&t->store, "one", t->only_one);
        put_object(&t->store, "two", t->only_two);
        put_directory(&t->store, below, 1, t->sub);
        put_directory(&t->store, children, 2, t->one_root);
        children[0].digest = t->only_two;
        put_directory(&t->store, children, 2, t->two_root);
        put_tree(&t->store, t->one_root, NULL, t->one);
        put_tree(&t->store, t->two_root, NULL, t->two);
}

static struct volt_choice *choose(struct sample *t, const unsigned char *root, const unsigned char *spared,
                                  double limit) {
        struct volt_choice *choice = NULL;
        struct volt_job job = {};
        char *failed = NULL;

        must(volt_choose(t->store.fd, root, root ? 1 : 0, spared, spared ? 1 : 0, limit, NULL, 0, 2, &job,
                         &choice, &failed) == 0);
        return choice;
}

static bool is_row(const unsigned char *rows, uint64_t n, size_t i, const unsigned char *digest, uint64_t size) {
        return i < n && memcmp(rows + i * 40, digest, 32) == 0 && memcmp(rows + i * 40 + 32, &size, sizeof size) == 0;
}

static void test_half(void) {
        const struct volt_chosen *chosen;
        struct volt_choice *choice;
        struct volt_job job = {};
        char *failed = NULL;
        struct sample t;

        sample_open(&t);
        choice = choose(&t, t.one, NULL, EVER);
        chosen = volt_choice_result(choice);
        ok(chosen->n_records == 2 && chosen->n_objects == 1 && chosen->n_variants == 0 && chosen->young == 0,
           "what one tree alone has is chosen");
        ok(memcmp(chosen->records, t.two, 32) == 0 && memcmp(chosen->records + 40, t.two_root, 32) == 0,
           "its top record first");
        ok(is_row(chosen->objects, chosen->n_objects, 0, t.only_two, 3), "with the size of the object");
        ok(is_there(&t.store, "objects", t.only_two), "nothing has gone yet");
        ok(volt_sweep(choice, 2, &job, &failed) == 0 && job.files == 3, "all of it is removed");
        ok(!is_there(&t.store, "objects", t.only_two) && !is_there(&t.store, "trees", t.two) &&
           !is_there(&t.store, "trees", t.two_root), "it has gone");
        ok(is_there(&t.store, "objects", t.only_one) && is_there(&t.store, "objects", t.shared) &&
           is_there(&t.store, "trees", t.one) && is_there(&t.store, "trees", t.one_root) &&
           is_there(&t.store, "trees", t.sub), "the rest is there");
        volt_choice_free(choice);
        store_close(&t.store);
}

static void test_ages(void) {
        const struct volt_chosen *chosen;
        struct volt_choice *choice;
        struct sample t;

        sample_open(&t);
        choice = choose(&t, NULL, NULL, NEVER);
        chosen = volt_choice_result(choice);
        ok(chosen->n_records == 0 && chosen->n_objects == 0 && chosen->young == 2, "two young trees are kept");
        volt_choice_free(choice);

        must(unlinkat(t.store.fd, path_in("trees", t.two_root), 0) == 0);
        choice = choose(&t, NULL, NULL, NEVER);
        chosen = volt_choice_result(choice);
        /* One whole tree, and an object that only the damaged one names. */
        ok(chosen->n_records == 0 && chosen->n_objects == 0 && chosen->young == 2, "also where one is damaged");
        volt_choice_free(choice);

        choice = choose(&t, NULL, NULL, EVER);
        chosen = volt_choice_result(choice);
        ok(chosen->n_records == 4 && chosen->n_objects == 3 && chosen->young == 0, "old ones are not");
        volt_choice_free(choice);
        store_close(&t.store);
}

static void test_spared(void) {
        const struct volt_chosen *chosen;
        struct volt_choice *choice;
        struct sample t;

        sample_open(&t);
        choice = choose(&t, t.one, t.two, EVER);
        chosen = volt_choice_result(choice);
        ok(chosen->n_records == 0 && chosen->n_objects == 0, "a spared tree is kept");
        volt_choice_free(choice);
        must(unlinkat(t.store.fd, path_in("trees", t.two_root), 0) == 0);
        choice = choose(&t, t.one, t.two, EVER);
        chosen = volt_choice_result(choice);
        ok(chosen->n_records == 0 && chosen->n_objects == 1, "a damaged one as far as it can be");
        volt_choice_free(choice);
        store_close(&t.store);
}

static void test_damage(void) {
        struct volt_choice *choice = NULL;
        struct volt_job job = {};
        unsigned char digest[32];
        char *failed = NULL;
        struct sample t;

        sample_open(&t);
        store_write(&t.store, path_in("trees", t.sub), "damaged", 7);
        ok(volt_choose(t.store.fd, t.one, 1, NULL, 0, EVER, NULL, 0, 2, &job, &choice, &failed) == -EBADMSG,
           "a damaged record below a root");
        must(unlinkat(t.store.fd, path_in("trees", t.sub), 0) == 0);
        ok(volt_choose(t.store.fd, t.one, 1, NULL, 0, EVER, NULL, 0, 2, &job, &choice, &failed) == -ENOENT,
           "a missing record below a root");
        memset(digest, 1, sizeof digest);
        ok(volt_choose(t.store.fd, digest, 1, NULL, 0, EVER, NULL, 0, 2, &job, &choice, &failed) == -ENOENT,
           "a missing root");
        must(mkfifoat(t.store.fd, path_in("trees", t.sub), 0600) == 0);
        ok(volt_choose(t.store.fd, t.one, 1, NULL, 0, EVER, NULL, 0, 2, &job, &choice, &failed) == -EINVAL,
           "a fifo in the place of a record");
        ok(!choice && !failed, "nothing is handed back");
        job.cancelled = 1;
        ok(volt_choose(t.store.fd, t.two, 1, NULL, 0, EVER, NULL, 0, 2, &job, &choice, &failed) == -ECANCELED,
           "a cancelled choice");
        free(failed);
        store_close(&t.store);
}

static void test_variants(void) {
        char path[2 * STORE_PATH_SIZE], hex[65];
        struct volt_choice *choice = NULL;
        const struct volt_chosen *chosen;
        struct volt_lost lost;
        struct volt_job job = {};
        unsigned char digest[32];
        char *failed = NULL;
        struct sample t;
        struct stat st;

        sample_open(&t);
        memset(digest, 7, sizeof digest);
        digest_to_hex(hex, digest);
        (void) snprintf(path, sizeof path, "%s.%s.3", path_in("variants", t.shared), hex);
        store_write(&t.store, path, "shared", 6);
        must(linkat(t.store.fd, path, t.store.fd, "elsewhere", 0) == 0);
        must(fstatat(t.store.fd, path, &st, 0) == 0);

        choice = choose(&t, t.one, t.two, EVER);
        ok(volt_choice_result(choice)->n_variants == 0, "a variant that something links to is kept");
        volt_choice_free(choice);
        lost = (struct volt_lost) { .inode = st.st_ino, .names = 1 };
        must(volt_choose(t.store.fd, t.one, 1, t.two, 1, EVER, &lost, 1, 2, &job, &choice, &failed) == 0);
        chosen = volt_choice_result(choice);
        digest_to_hex(hex, t.shared);
        ok(chosen->n_variants == 1 && strncmp((const char *) chosen->variants + 8, hex, 64) == 0 &&
           strcmp((const char *) chosen->variants + chosen->variants_size - 4, ".3") != 0 &&
           strcmp((const char *) chosen->variants + chosen->variants_size - 3, ".3") == 0,
           "unless that goes before");
        ok(volt_sweep(choice, 1, &job, &failed) == 0 && faccessat(t.store.fd, path, F_OK, 0) < 0, "then it goes too");
        volt_choice_free(choice);
        store_close(&t.store);
}

static void test_failing_sweep(void) {
        struct volt_choice *choice;
        struct volt_job job = {};
        char *failed = NULL;
        struct sample t;

        sample_open(&t);
        choice = choose(&t, t.one, NULL, EVER);
        must(unlinkat(t.store.fd, path_in("objects", t.only_two), 0) == 0);
        must(mkdirat(t.store.fd, path_in("objects", t.only_two), 0700) == 0);
        ok(volt_sweep(choice, 2, &job, &failed) == -EISDIR, "what cannot be removed is an error");
        ok(failed && strcmp(failed, path_in("objects", t.only_two)) == 0, "which names it");
        free(failed);
        volt_choice_free(choice);
        store_close(&t.store);
}

/* Many records, so that threads meet in the marking. */
static void test_many(void) {
        struct child children[64];
        unsigned char digests[64][32], leaves[256][32], root[32];
        static char names[64][8];
        const struct volt_chosen *chosen;
        struct volt_choice *choice;
        struct sample t;
        char text[16];

        store_open(&t.store);
        for (unsigned i = 0; i < 256; i++) {
                struct child child = { .name = "leaf", .type = 'f', .digest = leaves[i] };

                child.size = (uint64_t) snprintf(text, sizeof text, "leaf %u", i);
                put_object(&t.store, text, leaves[i]);
                if (i < 64)
                        put_directory(&t.store, &child, 1, digests[i]);
        }
        for (unsigned level = 0; level < 8; level++) {
                for (unsigned i = 0; i < 64; i++) {
                        (void) snprintf(names[i], sizeof names[i], "%u", 10 + i);
                        children[i] = (struct child) { .name = names[i], .type = 'd', .digest = digests[i] };
                }
                put_directory(&t.store, children, 64 - level, root);
                memcpy(digests[level], root, 32);
        }
        put_tree(&t.store, root, NULL, t.one);
        choice = choose(&t, t.one, NULL, EVER);
        chosen = volt_choice_result(choice);
        ok(chosen->n_objects == 256 - 64 && chosen->n_records == 0, "a tree that names its records many times");
        volt_choice_free(choice);
        store_close(&t.store);
}

int main(void) {
        test_half();
        test_ages();
        test_spared();
        test_damage();
        test_variants();
        test_failing_sweep();
        test_many();
        return tap_done();
}
