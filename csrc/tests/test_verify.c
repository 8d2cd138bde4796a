/* SPDX-License-Identifier: Apache-2.0 */
#include "small_store.h"
#include "volt_native.h"

/* A tree with "a" and "sub/b", in whatever the caller does to it. */
struct sample {
        struct small_store store;
        unsigned char a[32], b[32], sub[32], root[32], links[32], top[32];
};

static const unsigned char links_record[] = {
        0x92, 0xa5, 'l', 'i', 'n', 'k', 's', 0x91, 0x92, 0xc4, 1, 'a', 0xc4, 1, 'c',
};

static void sample_open(struct sample *t) {
        const struct child below[] = { { .name = "b", .type = 'f', .size = 7, .digest = t->b } };
        const struct child children[] = {
                { .name = "a", .type = 'f', .size = 5, .digest = t->a },
                { .name = "c", .type = 'f', .size = 5, .digest = t->a },
                { .name = "link", .type = 'l' },
                { .name = "sub", .type = 'd', .digest = t->sub },
        };

        store_open(&t->store);
        put_object(&t->store, "hello", t->a);
        put_object(&t->store, "goodbye", t->b);
        put_directory(&t->store, below, 1, t->sub);
        put_directory(&t->store, children, 4, t->root);
        put(&t->store, "trees", links_record, sizeof links_record, t->links);
        put_tree(&t->store, t->root, t->links, t->top);
}

static struct volt_verification *verify(struct sample *t) {
        struct volt_verification *v = NULL;
        struct volt_job job = {};
        char *failed = NULL;

        must(volt_verify(t->store.fd, 2, &job, &v, &failed) == 0);
        must(volt_verification_result(v)->damaged_size > 0 || job.total == volt_verification_result(v)->bytes);
        return v;
}

/* What is said of the file at a path: 1 for nothing, else the code. */
static int damage_at(const struct volt_verified *found, const char *path) {
        const unsigned char *at = found->damaged, *end = at + found->damaged_size;

        while (at < end) {
                int32_t code;

                memcpy(&code, at, sizeof code);
                at += sizeof code;
                if (strcmp((const char *) at, path) == 0)
                        return code;
                at += strlen((const char *) at) + 1;
        }
        return 1;
}

static void expect(struct sample *t, const char *what, const char *path, int code, bool is_whole) {
        struct volt_verification *v = verify(t);
        const struct volt_verified *found = volt_verification_result(v);

        if (path)
                ok(damage_at(found, path) == code, "%s is told", what);
        else
                ok(found->damaged_size == 0, "%s leaves no file damaged", what);
        ok(found->is_whole == is_whole, "%s leaves the store %s", what, is_whole ? "whole" : "with holes");
        volt_verification_free(v);
}

static void test_sound(void) {
        struct volt_verification *v;
        const struct volt_stored *files;
        const struct volt_verified *found;
        struct sample t;
        size_t n;

        sample_open(&t);
        store_write(&t.store, "objects/ab/README", "not named by a digest", 1);
        store_write(&t.store, "objects/README", "neither", 1);
        v = verify(&t);
        found = volt_verification_result(v);
        ok(found->objects == 2 && found->records == 4 && found->bytes == 12, "all is counted");
        ok(found->is_whole && found->damaged_size == 0, "nothing is damaged");
        files = volt_verification_files(v, false, t.a[0], &n);
        ok(n == 1 && memcmp(files[0].digest, t.a, 32) == 0 && files[0].size == 5, "objects are listed");
        volt_verification_free(v);
        store_close(&t.store);
}

static void test_damage(void) {
        char a[STORE_PATH_SIZE], sub[STORE_PATH_SIZE], path[2 * STORE_PATH_SIZE], hex[65];
        unsigned char digest[32];
        struct sample t;

        sample_open(&t);
        store_path(a, "objects", t.a);
        store_path(sub, "trees", t.sub);
        expect(&t, "a sound store", NULL, 0, true);
        store_write(&t.store, a, "hellO", 5);
        expect(&t, "a changed object", a, 0, true);
        store_write(&t.store, a, "", 0);
        expect(&t, "an empty object", a, 0, false);
        must(unlinkat(t.store.fd, a, 0) == 0);
        expect(&t, "a missing object", NULL, 0, false);
        must(mkfifoat(t.store.fd, a, 0600) == 0);
        expect(&t, "a fifo in the place of an object", a, -EINVAL, false);
        must(unlinkat(t.store.fd, a, 0) == 0 && symlinkat("/dev/zero", t.store.fd, a) == 0);
        expect(&t, "a link to a device", a, -EINVAL, false);
        must(unlinkat(t.store.fd, a, 0) == 0);
        store_write(&t.store, a, "hello", 5);

        memset(digest, 0x5a, sizeof digest);
        digest_to_hex(hex, digest);
        (void) snprintf(path, sizeof path, "variants%s.%s.12", a + strlen("objects"), hex);
        store_write(&t.store, path, "hello", 5);
        expect(&t, "a sound variant", NULL, 0, true);
        store_write(&t.store, path, "hellO", 5);
        expect(&t, "a changed variant", path, 0, true);
        must(unlinkat(t.store.fd, path, 0) == 0);

        must(renameat(t.store.fd, sub, t.store.fd, "sub") == 0);
        expect(&t, "a missing record", NULL, 0, false);
        must(mkfifoat(t.store.fd, sub, 0600) == 0);
        expect(&t, "a fifo in the place of a record", sub, -EINVAL, false);
        must(unlinkat(t.store.fd, sub, 0) == 0);
        store_write(&t.store, sub, "damaged", 7);
        expect(&t, "a damaged record", sub, 0, false);
        must(renameat(t.store.fd, "sub", t.store.fd, sub) == 0);
        expect(&t, "a repaired store", NULL, 0, true);

        put(&t.store, "trees", "no record at all", 16, digest);
        expect(&t, "what is no record", path_in("trees", digest), 0, false);
        store_close(&t.store);
}

static void test_large(void) {
        const size_t size = 9UL * 1024 * 1024;
        _cleanup_free_ unsigned char *data = calloc(1, size);
        struct volt_verification *v;
        unsigned char digest[32];
        struct sample t;

        must(data);
        sample_open(&t);
        put(&t.store, "objects", data, size, digest);
        v = verify(&t);
        ok(volt_verification_result(v)->bytes == size + 12 && volt_verification_result(v)->damaged_size == 0,
           "a large file is sound");
        volt_verification_free(v);
        data[size - 1] = 1;
        store_write(&t.store, path_in("objects", digest), data, size);
        expect(&t, "a change at its end", path_in("objects", digest), 0, true);
        /* A multiple of the buffer: there is no short read at the end. */
        store_write(&t.store, path_in("objects", digest), data, 8UL * 1024 * 1024);
        expect(&t, "a large file cut short", path_in("objects", digest), 0, true);
        store_close(&t.store);
}

static void test_kinds(void) {
        unsigned char digest[32];
        struct sample t;

        sample_open(&t);
        put_tree(&t.store, t.links, NULL, digest);
        expect(&t, "a links record in the place of a directory", NULL, 0, false);
        must(unlinkat(t.store.fd, path_in("trees", digest), 0) == 0);
        put_tree(&t.store, t.root, t.sub, digest);
        expect(&t, "a directory in the place of links", NULL, 0, false);
        store_close(&t.store);
}

/* From `n` directories in each other, made from the inside. */
static void put_deep(struct small_store *s, unsigned n, unsigned char *ret) {
        const struct child child = { .name = "d", .type = 'd', .digest = ret };

        put_directory(s, NULL, 0, ret);
        for (unsigned i = 1; i < n; i++)
                put_directory(s, &child, 1, ret);
}

static void test_depth(void) {
        unsigned char digest[32];
        struct sample t;

        sample_open(&t);
        put_deep(&t.store, 4096, digest);
        expect(&t, "a tree as deep as can be", NULL, 0, true);
        put_deep(&t.store, 4097, digest);
        expect(&t, "a tree that is too deep", NULL, 0, false);
        store_close(&t.store);
}

static void test_links_records(void) {
        static const struct { const char *what, *data; size_t size; bool is_sound; } cases[] = {
                { "two groups", "\x92\xa5links\x92\x92\xc4\1a\xc4\1b\x92\xc4\1c\xc4\3d/e", 24, true },
                { "no group", "\x92\xa5links\x90", 8, false },
                { "a group of one", "\x92\xa5links\x91\x91\xc4\1a", 12, false },
                { "groups out of order", "\x92\xa5links\x92\x92\xc4\1c\xc4\1d\x92\xc4\1a\xc4\1b", 22, false },
                { "paths out of order", "\x92\xa5links\x91\x92\xc4\1b\xc4\1a", 15, false },
                { "a path twice", "\x92\xa5links\x92\x92\xc4\1a\xc4\1c\x92\xc4\1b\xc4\1c", 22, false },
                { "a path that leads out", "\x92\xa5links\x91\x92\xc4\2..\xc4\1a", 16, false },
                { "an empty component", "\x92\xa5links\x91\x92\xc4\1a\xc4\2b/", 16, false },
                { "something behind it", "\x92\xa5links\x91\x92\xc4\1a\xc4\1b\xc0", 16, false },
                { "half of it", "\x92\xa5links\x91\x92\xc4\1a\xc4", 13, false },
        };

        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
                ok(links_check((const unsigned char *) cases[i].data, cases[i].size) ==
                   (cases[i].is_sound ? 0 : -EBADMSG), "links with %s", cases[i].what);
}

static void test_failures(void) {
        struct volt_job job = { .cancelled = 1 };
        struct volt_verification *v = NULL;
        char *failed = NULL;
        struct sample t;

        sample_open(&t);
        ok(volt_verify(t.store.fd, 2, &job, &v, &failed) == -ECANCELED && !v, "a cancelled verification");
        free(failed);
        ok(volt_verify(t.store.fd, 0, &job, &v, &failed) == -EINVAL, "no threads at all");
        store_close(&t.store);
}

/* A path below the checkout of the sample's tree, until the next call but one. */
static const char *inside(const struct sample *t, const char *path) {
        static char paths[2][STORE_PATH_SIZE];
        static unsigned turn;
        char hex[65];

        digest_to_hex(hex, t->top);
        turn ^= 1;
        (void) snprintf(paths[turn], sizeof paths[turn], "links/%s%.64s", hex, path);
        return paths[turn];
}

/* The checkout of the sample's tree, as links. */
static void check_out(struct sample *t) {
        int fd = t->store.fd;

        must(mkdirat(fd, inside(t, ""), 0700) == 0);
        must(mkdirat(fd, inside(t, "/root"), 0755) == 0);
        must(mkdirat(fd, inside(t, "/root/sub"), 0755) == 0);
        must(linkat(fd, path_in("objects", t->a), fd, inside(t, "/root/a"), 0) == 0);
        must(linkat(fd, path_in("objects", t->a), fd, inside(t, "/root/c"), 0) == 0);
        must(linkat(fd, path_in("objects", t->b), fd, inside(t, "/root/sub/b"), 0) == 0);
        must(symlinkat("target", fd, inside(t, "/root/link")) == 0);
}

static void expect_difference(struct sample *t, const char *what, int32_t difference, const char *path) {
        _cleanup_close_ int links_fd = openat(t->store.fd, "links", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct volt_verification *v = verify(t);
        _cleanup_free_ unsigned char *data = NULL;
        struct volt_job job = {};
        int32_t found = 0;
        size_t size = 0;

        must(volt_compare(v, t->store.fd, links_fd, t->top, 1, 2, &job, &data, &size) == 0);
        if (size > 0)
                memcpy(&found, data + 4, sizeof found);
        ok(found == difference && (found == 0 || strcmp((const char *) data + 8, path) == 0), "a checkout with %s", what);
        volt_verification_free(v);
}

static void test_compare(void) {
        struct sample t;
        int fd;

        sample_open(&t);
        fd = t.store.fd;
        check_out(&t);
        expect_difference(&t, "nothing wrong", 0, "");

        must(renameat(fd, inside(&t, "/root/sub/b"), fd, inside(&t, "/root/sub/x")) == 0);
        expect_difference(&t, "a file of another name", VOLT_MISSING, "sub/b");
        store_write(&t.store, inside(&t, "/root/sub/b"), "goodbye", 7);
        expect_difference(&t, "a copy", VOLT_OTHER, "sub/b");
        must(renameat(fd, inside(&t, "/root/sub/x"), fd, inside(&t, "/root/sub/b")) == 0);
        store_write(&t.store, inside(&t, "/root/sub/x"), "", 0);
        expect_difference(&t, "one file too many", VOLT_EXTRA, "sub/x");
        must(unlinkat(fd, inside(&t, "/root/sub/x"), 0) == 0);

        must(unlinkat(fd, inside(&t, "/root/link"), 0) == 0);
        must(symlinkat("targe", fd, inside(&t, "/root/link")) == 0);
        expect_difference(&t, "a link to elsewhere", VOLT_OTHER, "link");
        must(unlinkat(fd, inside(&t, "/root/link"), 0) == 0 && mkdirat(fd, inside(&t, "/root/link"), 0700) == 0);
        expect_difference(&t, "a directory for a link", VOLT_OTHER, "link");

        must(unlinkat(fd, path_in("trees", t.root), 0) == 0);
        expect_difference(&t, "a record missing", 0, "");
        must(renameat(fd, inside(&t, "/root"), fd, "elsewhere") == 0);
        expect_difference(&t, "no tree at all", -ENOENT, "");
        store_close(&t.store);
}

int main(void) {
        test_sound();
        test_damage();
        test_large();
        test_kinds();
        test_depth();
        test_links_records();
        test_failures();
        test_compare();
        return tap_done();
}
