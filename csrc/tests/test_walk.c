/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"
#include "util.h"
#include "volt_native.h"

#define DEEP_LEVELS 2000
#define MANY_ENTRIES 3000

struct listing {
        unsigned char *records;
        size_t size, at;
};

static int open_dir(int dir_fd, const char *name) {
        int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        must(fd >= 0);
        return fd;
}

static int make_dir(int dir_fd, const char *name) {
        must(mkdirat(dir_fd, name, 0755) == 0);
        return open_dir(dir_fd, name);
}

static void make_file(int dir_fd, const char *name) {
        int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

        must(fd >= 0);
        must(close(fd) == 0);
}

static struct listing list(int root_fd) {
        struct listing l = {};
        char *failed = NULL;

        must(volt_walk(root_fd, false, &l.records, &l.size, &failed) == 0);
        must(!failed);
        return l;
}

/* The next record, NULL after the last; its name is copied into `name`, which takes 256 bytes. */
static const struct volt_walk_record *next(struct listing *l, char *name) {
        const struct volt_walk_record *record = (const void *) (l->records + l->at);

        if (l->at == l->size)
                return NULL;
        must(l->size - l->at >= sizeof *record + record->name_size);
        memcpy(name, record + 1, record->name_size);
        name[record->name_size] = 0;
        l->at += (sizeof *record + record->name_size + 7) & ~(size_t) 7;
        return record;
}

static void test_order(int scratch) {
        static const struct { unsigned depth; const char *name; mode_t type; } expected[] = {
                { 0, "", S_IFDIR },
                { 1, "\001", S_IFREG },
                { 1, "a", S_IFDIR },
                { 2, "a", S_IFDIR },
                { 3, "z", S_IFIFO },
                { 2, "b", S_IFREG },
                { 1, "a-", S_IFREG },
                { 1, "empty", S_IFDIR },
                { 1, "link", S_IFLNK },
                { 1, "\xff\xfe", S_IFREG },
        };
        _cleanup_close_ int root = make_dir(scratch, "order"), a = make_dir(root, "a"), inner = make_dir(a, "a");
        char name[256];
        struct listing l;
        bool same = true;
        size_t n = 0;

        must(mkfifoat(inner, "z", 0600) == 0);
        make_file(a, "b");
        make_file(root, "\xff\xfe");
        make_file(root, "a-");
        make_file(root, "\001");
        must(symlinkat("a", root, "link") == 0);
        must(mkdirat(root, "empty", 0700) == 0);

        l = list(root);
        for (const struct volt_walk_record *r; (r = next(&l, name)); n++)
                same = same && n < sizeof expected / sizeof expected[0] && r->depth == expected[n].depth &&
                        (r->mode & S_IFMT) == expected[n].type && strcmp(name, expected[n].name) == 0;
        ok(same && n == sizeof expected / sizeof expected[0], "names are in byte order, subtrees follow their directory");
        volt_free(l.records);
}

static void test_times(int scratch) {
        /* Beyond what 64 bits of nanoseconds hold, and before 1970. */
        static const struct timespec times[] = { { .tv_sec = 10413792000, .tv_nsec = 7 }, { .tv_sec = -2, .tv_nsec = 5 } };
        _cleanup_close_ int root = make_dir(scratch, "times");
        char name[256];
        struct listing l;

        for (int i = 0; i < 2; i++) {
                const struct timespec both[2] = { times[i], times[i] };
                const struct volt_walk_record *r;
                struct stat st;

                if (i == 0)
                        make_file(root, "file");
                must(utimensat(root, "file", both, 0) == 0);
                must(fstatat(root, "file", &st, 0) == 0);
                l = list(root);
                (void) next(&l, name);
                r = next(&l, name);
                ok(r && r->mtime_sec == st.st_mtim.tv_sec && r->mtime_nsec == (uint32_t) st.st_mtim.tv_nsec,
                   "an mtime of %lld s is kept", (long long) st.st_mtim.tv_sec);
                volt_free(l.records);
        }
}

static void test_many(int scratch) {
        _cleanup_close_ int root = make_dir(scratch, "many");
        char name[256], before[256] = "";
        bool sorted = true;
        struct listing l;
        size_t n = 0;

        for (int i = 0; i < MANY_ENTRIES; i++) {
                memset(name, 'n', 255);
                name[255] = 0;
                memcpy(name + snprintf(name, 8, "%06d", i * 7919 % MANY_ENTRIES), "x", 1);
                make_file(root, name);
        }
        l = list(root);
        (void) next(&l, name);
        for (; next(&l, name); n++) {
                sorted = sorted && strcmp(before, name) < 0 && strlen(name) == 255;
                strcpy(before, name);
        }
        ok(sorted && n == MANY_ENTRIES, "a directory of %d names of 255 bytes", MANY_ENTRIES);
        volt_free(l.records);
}

static void test_deep(int scratch) {
        _cleanup_close_ int root = make_dir(scratch, "deep");
        char name[256];
        struct listing l;
        unsigned depth = 0, after = 0;
        bool right = true;
        int fd = dup(root);

        /* A file beside each directory, so that every level has to be come back to. */
        for (int i = 0; i < DEEP_LEVELS; i++) {
                int inner = make_dir(fd, "dddddddddddddddddddd");

                make_file(fd, "z");
                close(fd);
                fd = inner;
        }
        close(fd);

        l = list(root);
        for (const struct volt_walk_record *r; (r = next(&l, name));)
                if (S_ISDIR(r->mode))
                        right = right && r->depth == depth++;
                else
                        right = right && r->depth == DEEP_LEVELS - after++ && strcmp(name, "z") == 0;
        ok(right && depth == DEEP_LEVELS + 1 && after == DEEP_LEVELS, "%d levels", DEEP_LEVELS);
        volt_free(l.records);
}

static void test_errors(int scratch) {
        _cleanup_close_ int root = make_dir(scratch, "errors"), outer = make_dir(root, "outer"), file = -1;
        unsigned char *records = (unsigned char *) 1;
        size_t size = 4711;
        char *failed = NULL;
        int r;

        make_file(root, "file");
        file = openat(root, "file", O_RDONLY | O_CLOEXEC);
        r = volt_walk(file, false, &records, &size, &failed);
        ok(r == -ENOTDIR && failed && strcmp(failed, "") == 0, "a root that is a file");
        volt_free(failed);
        ok(records == (unsigned char *) 1 && size == 4711, "outputs stay untouched on failure");

        must(mkdirat(outer, "shut", 0) == 0);
        if (geteuid() == 0)
                must(seteuid(65534) == 0);
        failed = NULL;
        r = volt_walk(root, false, &records, &size, &failed);
        ok(r == -EACCES && failed && strcmp(failed, "outer/shut") == 0, "the unreadable directory is named");
        volt_free(failed);
        must(getuid() != 0 || seteuid(0) == 0);
}

static void test_offset(int scratch) {
        _cleanup_close_ int root = make_dir(scratch, "offset");
        struct listing once, twice;

        make_file(root, "a");
        once = list(root);
        twice = list(root);
        ok(once.size == twice.size && lseek(root, 0, SEEK_CUR) == 0, "the caller's descriptor does not move");
        volt_free(once.records);
        volt_free(twice.records);
}

int main(void) {
        char path[] = "/tmp/volt-test-walk-XXXXXX", command[sizeof path + 16];
        _cleanup_close_ int scratch = -1;

        umask(022);
        must(mkdtemp(path));
        scratch = open_dir(AT_FDCWD, path);
        test_order(scratch);
        test_times(scratch);
        test_many(scratch);
        test_deep(scratch);
        test_errors(scratch);
        test_offset(scratch);
        (void) snprintf(command, sizeof command, "rm -rf %s", path);
        must(system(command) == 0);
        return tap_done();
}
