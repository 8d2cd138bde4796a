/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msgpack.h"
#include "record.h"
#include "store.h"
#include "tap.h"
#include "util.h"
#include "volt_native.h"

#define DEEP_LEVELS 400
#define WIDE 12
#define ROUNDS 8

/* A store whose records and objects are named by number: nobody here asks whether a digest is right. */
static int store_fd = -1, scratch_fd = -1;
static struct volt_owner owner;

static void name_of(unsigned char *ret, unsigned number) {
        memset(ret, 0, VOLT_DIGEST_SIZE);
        ret[0] = (unsigned char) number;
        ret[1] = (unsigned char) (number >> 8);
        ret[2] = (unsigned char) (number >> 16);
        ret[31] = 1;
}

static struct metadata plain(uint32_t mode) {
        return (struct metadata) {
                .mode = mode, .uid = geteuid(), .gid = getegid(), .seconds = -5, .nanoseconds = 7,
        };
}

static void put(const char *folder, unsigned number, const void *data, size_t size, const struct metadata *m) {
        const struct timespec time = { .tv_sec = m->seconds, .tv_nsec = m->nanoseconds };
        _cleanup_close_ int fd = -1;
        unsigned char digest[VOLT_DIGEST_SIZE];
        char path[STORE_PATH_SIZE];

        name_of(digest, number);
        store_path(path, folder, digest);
        (void) mkdirat(store_fd, folder, 0700);
        path[strlen(folder) + 3] = 0;
        (void) mkdirat(store_fd, path, 0700);
        store_path(path, folder, digest);
        fd = openat(store_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        must(fd >= 0);
        must(write_all(fd, data, size) == 0);
        must(fchmod(fd, m->mode) == 0 && futimens(fd, (const struct timespec[]) { time, time }) == 0);
}

static void put_object(unsigned number, const struct metadata *m) {
        put("objects", number, "content", 7, m);
}

static void put_directory(unsigned number, struct directory_writer *w) {
        struct metadata m = plain(0600);
        const unsigned char *data;
        size_t size;

        must(directory_finish(w, &data, &size) == 0);
        put("trees", number, data, size, &m);
        directory_writer_done(w);
}

static void put_tree(unsigned number, unsigned directory, uint32_t mode) {
        _cleanup_buffer_ struct buffer b = {};
        struct metadata m = plain(mode);
        unsigned char digest[VOLT_DIGEST_SIZE];

        name_of(digest, directory);
        must(mp_write_array(&b, 4) == 0 && buffer_append(&b, "\xa4tree", 5) == 0);
        must(metadata_encode(&b, &m) == 0 && mp_write_bytes(&b, digest, sizeof digest) == 0);
        must(buffer_append(&b, "\xc0", 1) == 0);
        put("trees", number, b.data, b.size, &m);
}

static void add(struct directory_writer *w, char type, const char *name, unsigned number, uint32_t mode) {
        unsigned char digest[VOLT_DIGEST_SIZE];
        struct entry e = {
                .type = type, .name = (const unsigned char *) name, .name_size = strlen(name), .metadata = plain(mode),
                .size = 7, .digest = digest, .target = (const unsigned char *) "t", .target_size = 1,
        };

        name_of(digest, number);
        must(directory_add(w, &e) == 0);
}

struct outcome {
        int result;
        struct volt_checkout_report report;
        char *failed;
        struct volt_job job;
        int root;
};

static struct outcome check_out(const char *name, unsigned number, int mode, unsigned n_threads, bool cancelled,
                                const char *grouped, size_t grouped_size) {
        struct outcome o = { .job.cancelled = cancelled };
        unsigned char digest[VOLT_DIGEST_SIZE];

        name_of(digest, number);
        (void) mkdirat(scratch_fd, name, 0700);
        o.root = openat(scratch_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(o.root >= 0);
        o.result = volt_checkout(store_fd, o.root, digest, mode, grouped, grouped_size, &owner, 0, n_threads,
                                 &o.job, &o.report, &o.failed);
        return o;
}

static struct outcome link_into(const char *name, unsigned number, unsigned n_threads, bool cancelled,
                                const char *grouped, size_t grouped_size) {
        return check_out(name, number, VOLT_CHECKOUT_LINK, n_threads, cancelled, grouped, grouped_size);
}

static void outcome_done(struct outcome *o) {
        volt_free(o->report.left);
        volt_free(o->report.refused_xattrs);
        volt_free(o->failed);
        close_fd(o->root);
}

static bool is_left(const struct outcome *o, const char *expected, size_t size) {
        return o->report.left_size == size && (size == 0 || memcmp(o->report.left, expected, size) == 0);
}

#define IS_LEFT(o, text) is_left(&(o), (text), sizeof (text) - 1)

static void test_all_kinds(void) {
        struct directory_writer top = {}, sub = {};
        struct metadata right = plain(0640), wrong = plain(0600);
        struct stat st, object;
        struct outcome o;
        char path[STORE_PATH_SIZE];
        unsigned char digest[VOLT_DIGEST_SIZE];

        put_object(1, &right);
        put_object(2, &wrong);
        add(&sub, 'f', "file", 1, 0640);
        add(&sub, 'l', "link", 0, 0777);
        add(&sub, 'p', "pipe", 0, 0604);
        add(&top, 'd', "sub", 101, 0555);
        put_directory(101, &sub);
        put_directory(100, &top);
        put_tree(99, 100, 0711);
        o = link_into("kinds", 99, 2, false, NULL, 0);
        ok(o.result == 0 && IS_LEFT(o, "") && o.report.files == 1 && o.report.linked == 1 && o.report.bytes == 7 &&
           o.job.files == 1 && o.job.bytes == 7, "what is made is counted, and told");
        name_of(digest, 1);
        store_path(path, "objects", digest);
        must(fstatat(store_fd, path, &object, 0) == 0);
        ok(fstatat(o.root, "sub/file", &st, 0) == 0 && st.st_ino == object.st_ino, "a file is the object");
        ok(fstatat(o.root, "sub", &st, 0) == 0 && (st.st_mode & 07777) == 0555 && st.st_mtim.tv_sec == -5 &&
           st.st_mtim.tv_nsec == 7, "a directory has its metadata");
        ok(fstat(o.root, &st) == 0 && (st.st_mode & 07777) == 0711 && st.st_mtim.tv_sec == -5, "so has the root");
        ok(fstatat(o.root, "sub/pipe", &st, 0) == 0 && S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0604, "and a pipe");
        ok(fstatat(o.root, "sub/link", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) && st.st_mtim.tv_sec == -5,
           "and a symlink");
        outcome_done(&o);

        o = link_into("groups", 99, 2, false, "sub/file\0sub/link\0sub/pip\0sub/pipes", 36);
        ok(o.result == 0 && IS_LEFT(o, "d\0dsub\0elink\0u\0u\0"), "a further name is left, but for that of a file");
        outcome_done(&o);
}

/* A hole between two bytes, more than a buffer of zeros behind them. */
static void test_copies(void) {
        static const char data[3 * 1024 * 1024] = { [0] = 'a', [1024 * 1024 + 1] = 'b' };
        struct metadata m = plain(0600);
        struct directory_writer top = {};
        struct stat st, object;
        struct outcome o;
        char path[STORE_PATH_SIZE];
        unsigned char digest[VOLT_DIGEST_SIZE];
        struct entry e = { .type = 'f', .name = (const unsigned char *) "holes", .name_size = 5, .metadata = plain(0640),
                           .size = sizeof data, .digest = digest };
        int fd;

        put("objects", 4, data, 1, &m);
        name_of(digest, 4);
        store_path(path, "objects", digest);
        fd = openat(store_fd, path, O_WRONLY | O_CLOEXEC);
        must(fd >= 0 && pwrite(fd, "b", 1, 1024 * 1024 + 1) == 1 && ftruncate(fd, sizeof data) == 0);
        must(fstat(fd, &object) == 0 && close(fd) == 0);
        add(&top, 'f', "file", 1, 0600);
        must(directory_add(&top, &e) == 0);
        add(&top, 'f', "missing", 3, 0600);
        put_directory(104, &top);
        put_tree(103, 104, 0755);
        for (int mode = VOLT_CHECKOUT_AUTO; mode <= VOLT_CHECKOUT_COPY; mode += VOLT_CHECKOUT_COPY - VOLT_CHECKOUT_AUTO) {
                static char copied[sizeof data];
                const char *name = mode == VOLT_CHECKOUT_COPY ? "copies" : "reflinks";

                o = check_out(name, 103, mode, 2, false, NULL, 0);
                ok(o.result == 0 && o.report.files == 2 && o.report.bytes == 7 + sizeof data && o.report.linked == 0 &&
                   IS_LEFT(o, "d\0emissing\0u\0"), "%s: what there is no object for is left", name);
                fd = openat(o.root, "holes", O_RDONLY | O_CLOEXEC);
                must(fd >= 0 && fstat(fd, &st) == 0);
                ok(read(fd, copied, sizeof copied) == sizeof copied && memcmp(copied, data, sizeof data) == 0 &&
                   st.st_blocks <= object.st_blocks && (st.st_mode & 07777) == 0640 && st.st_mtim.tv_sec == -5,
                   "%s: content, holes and metadata are right", name);
                close(fd);
                ok(fstatat(o.root, "file", &st, 0) == 0 && st.st_nlink == 1 && st.st_size == 7, "%s: no link", name);
                outcome_done(&o);
        }
        o = check_out("copied-groups", 103, VOLT_CHECKOUT_COPY, 1, false, "file\0holes", 11);
        ok(o.result == 0 && o.report.files == 0 && IS_LEFT(o, "d\0efile\0eholes\0emissing\0u\0"),
           "a file with several names is left");
        outcome_done(&o);
}

static void test_left(void) {
        struct directory_writer top = {}, sub = {};
        struct metadata m = plain(0600);
        struct stat st;
        struct outcome o;

        add(&sub, 'f', "mode", 2, 0640);
        add(&sub, 'f', "none", 3, 0640);
        add(&sub, 'f', "well", 1, 0640);
        put_directory(111, &sub);
        put("trees", 112, "\x92\xa3" "dir\x91\x95\xa1" "f", 8, &m);
        add(&top, 'd', "damaged", 112, 0755);
        add(&top, 'd', "missing", 113, 0755);
        add(&top, 'd', "sub", 111, 0755);
        put_directory(110, &top);
        put_tree(109, 110, 0755);
        o = link_into("left", 109, 1, false, NULL, 0);
        ok(o.result == 0 && o.report.files == 1 &&
           IS_LEFT(o, "d\0wdamaged\0wmissing\0dsub\0emode\0enone\0u\0u\0"), "what the store has not is left");
        ok(fstatat(o.root, "damaged", &st, 0) == 0 && fstatat(o.root, "sub/well", &st, 0) == 0, "and the rest is made");
        outcome_done(&o);

        put_tree(119, 118, 0755);
        o = link_into("left-all", 119, 2, false, NULL, 0);
        ok(o.result == 0 && IS_LEFT(o, "w\0"), "so is all of it");
        outcome_done(&o);
}

static void test_failures(void) {
        struct outcome o;

        o = link_into("kinds", 99, 2, false, NULL, 0);
        ok(o.result == -EEXIST && o.failed && strcmp(o.failed, "sub") == 0, "what is in the way is named");
        outcome_done(&o);

        o = link_into("cancelled", 99, 2, true, NULL, 0);
        ok(o.result == -ECANCELED, "a cancelled run ends");
        outcome_done(&o);

        o = link_into("no-tree", 4711, 2, false, NULL, 0);
        ok(o.result == -ENOENT && !o.failed, "a tree that is not there");
        outcome_done(&o);
}

/* Deeper than directories are kept open, with another directory and a file in each. */
static void test_deep(void) {
        static const char name[] = "dddddddddddddddddddd";
        struct directory_writer leaf = {};
        struct rlimit limit, low;
        struct outcome o;
        struct stat st;
        bool right = true;
        int fd;

        add(&leaf, 'f', "file", 1, 0640);
        put_directory(2000, &leaf);
        for (unsigned i = 1; i <= DEEP_LEVELS; i++) {
                struct directory_writer w = {};

                add(&w, 'd', "beside", 2000, 0700);
                add(&w, 'd', name, 2000 + i - 1, 0555);
                add(&w, 'f', "file", 1, 0640);
                put_directory(2000 + i, &w);
        }
        put_tree(1999, 2000 + DEEP_LEVELS, 0755);
        must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
        low = (struct rlimit) { .rlim_cur = 64, .rlim_max = limit.rlim_max };
        must(setrlimit(RLIMIT_NOFILE, &low) == 0);
        o = link_into("deep", 1999, 3, false, NULL, 0);
        must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        ok(o.result == 0 && IS_LEFT(o, "") && o.report.files == 2 * DEEP_LEVELS + 1, "%d levels", DEEP_LEVELS);
        fd = dup(o.root);
        for (unsigned i = 0; i < DEEP_LEVELS; i++) {
                int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                must(inner >= 0);
                right = right && fstat(inner, &st) == 0 && (st.st_mode & 07777) == 0555 && st.st_mtim.tv_sec == -5 &&
                        fstatat(fd, "beside", &st, 0) == 0 && st.st_mtim.tv_sec == -5 &&
                        fstatat(fd, "beside/file", &st, 0) == 0;
                close(fd);
                fd = inner;
        }
        ok(right, "each of them is right");
        close(fd);
        outcome_done(&o);
}

static void test_wide(void) {
        struct directory_writer top = {}, middle = {}, leaf = {};
        size_t left_size = 0;
        bool right = true;
        char name[16];

        for (unsigned i = 0; i < WIDE; i++) {
                (void) snprintf(name, sizeof name, "%03u", i);
                add(&leaf, 'f', name, i == 5 ? 2 : 1, 0640);
                add(&middle, 'd', name, 5002, 0750);
                add(&top, 'd', name, i == 7 ? 5003 : 5001, 0750);
        }
        put_directory(5002, &leaf);
        put_directory(5001, &middle);
        put_directory(5000, &top);
        put_tree(4999, 5000, 0755);
        for (unsigned round = 0; round < ROUNDS; round++) {
                struct outcome o;

                (void) snprintf(name, sizeof name, "wide%u", round);
                o = link_into(name, 4999, 1 + round, false, NULL, 0);
                left_size = round == 0 ? o.report.left_size : left_size;
                right = right && o.result == 0 && o.report.linked == (WIDE - 1) * WIDE * (WIDE - 1) &&
                        o.report.left_size == left_size;
                outcome_done(&o);
        }
        ok(right, "the same from any number of threads");
}

int main(void) {
        char path[] = "/tmp/volt-test-link-XXXXXX", command[2 * sizeof path + 32];

        umask(022);
        owner = (struct volt_owner) { .uid = geteuid(), .gid = getegid(), .may_all = geteuid() == 0 };
        must(mkdtemp(path));
        scratch_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(scratch_fd >= 0 && mkdirat(scratch_fd, "store", 0700) == 0);
        store_fd = openat(scratch_fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(store_fd >= 0);
        test_all_kinds();
        test_copies();
        test_left();
        test_failures();
        test_deep();
        test_wide();
        (void) snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", path, path);
        must(system(command) == 0);
        return tap_done();
}
