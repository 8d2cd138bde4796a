/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"
#include "util.h"
#include "volt_native.h"

#define N_FILES 1000

static const char empty_digest[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char abc_digest[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/* A million times "a", also a vector of FIPS 180. */
static const char million_digest[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

static void write_file(int dir_fd, const char *name, const char *text, size_t times) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

        must(fd >= 0);
        for (size_t i = 0; i < times; i++)
                must(write(fd, text, strlen(text)) == (ssize_t) strlen(text));
}

static bool is_digest(const unsigned char *digest, const char *hex) {
        char text[2 * VOLT_DIGEST_SIZE + 1];

        for (size_t i = 0; i < VOLT_DIGEST_SIZE; i++)
                (void) snprintf(text + 2 * i, 3, "%02x", digest[i]);
        return strcmp(text, hex) == 0;
}

static void test_one(int scratch) {
        static const struct { const char *name, *text; size_t times; const char *digest; } cases[] = {
                { "empty", "", 0, empty_digest },
                { "abc", "abc", 1, abc_digest },
                { "million", "aaaaaaaaaa", 100000, million_digest },
        };
        unsigned char digest[VOLT_DIGEST_SIZE];
        uint64_t size;

        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                _cleanup_close_ int fd = -1;

                write_file(scratch, cases[i].name, cases[i].text, cases[i].times);
                fd = openat(scratch, cases[i].name, O_RDONLY | O_CLOEXEC);
                ok(volt_hash_file(fd, digest, &size) == 0 && is_digest(digest, cases[i].digest) &&
                   size == strlen(cases[i].text) * cases[i].times, "vector %s", cases[i].name);
                ok(volt_hash_file(fd, digest, &size) == 0 && is_digest(digest, empty_digest) && size == 0,
                   "%s: nothing is left at the end of the file", cases[i].name);
        }
        memset(digest, 'u', sizeof digest);
        size = 4711;
        ok(volt_hash_file(scratch, digest, &size) == -EISDIR && digest[0] == 'u' && size == 4711,
           "outputs stay untouched on failure");
        ok(volt_hash_file(-1, digest, &size) == -EBADF, "a closed descriptor");
}

static void test_paths(int scratch) {
        static const struct { const char *path; int error; const char *digest; } cases[] = {
                { "abc", 0, abc_digest },
                { "dir/abc", 0, abc_digest },
                { "dir/sub/abc", 0, abc_digest },
                { "dir/empty", 0, empty_digest },
                { "missing", -ENOENT, NULL },
                { "dir/missing/abc", -ENOENT, NULL },
                { "abc/abc", -ENOTDIR, NULL },
                { "dir", -EINVAL, NULL },
                { "fifo", -EINVAL, NULL },
                { "link", -EINVAL, NULL },
                { "dirlink/abc", -ENOTDIR, NULL },
                { "", -EINVAL, NULL },
                { "/", -EINVAL, NULL },
                { "/etc/passwd", -EINVAL, NULL },
                { "../abc", -EINVAL, NULL },
                { "dir/../abc", -EINVAL, NULL },
                { "dir/./abc", -EINVAL, NULL },
                { "dir//abc", -EINVAL, NULL },
                { "dir/", -EINVAL, NULL },
                { "abc", 0, abc_digest },
        };
        enum { N = sizeof cases / sizeof cases[0] };
        _cleanup_close_ int root = -1, dir = -1, sub = -1;
        _cleanup_free_ unsigned char *digests = calloc(N, VOLT_DIGEST_SIZE);
        char joined[1024];
        size_t sizes[N], at = 0;
        int errors[N];

        must(digests && mkdirat(scratch, "paths", 0755) == 0);
        root = openat(scratch, "paths", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(mkdirat(root, "dir", 0755) == 0 && mkdirat(root, "dir/sub", 0755) == 0);
        dir = openat(root, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        sub = openat(dir, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        write_file(root, "abc", "abc", 1);
        write_file(dir, "abc", "abc", 1);
        write_file(dir, "empty", "", 0);
        write_file(sub, "abc", "abc", 1);
        must(mkfifoat(root, "fifo", 0600) == 0);
        must(symlinkat("abc", root, "link") == 0 && symlinkat("dir", root, "dirlink") == 0);
        for (size_t i = 0; i < N; i++) {
                sizes[i] = strlen(cases[i].path);
                memcpy(joined + at, cases[i].path, sizes[i] + 1);
                at += sizes[i] + 1;
        }

        for (unsigned threads = 1; threads <= 4; threads += 3) {
                must(volt_hash_files(root, joined, sizes, N, threads, digests, errors) == 0);
                for (size_t i = 0; i < N; i++)
                        ok(errors[i] == cases[i].error &&
                           (errors[i] < 0 || is_digest(digests + i * VOLT_DIGEST_SIZE, cases[i].digest)),
                           "\"%s\" with %u threads", cases[i].path, threads);
        }

        memcpy(joined, "abc\0abc", 8);
        sizes[0] = 7;
        must(volt_hash_files(root, joined, sizes, 1, 1, digests, errors) == 0);
        ok(errors[0] == -EINVAL, "a path that holds a NUL");
        ok(volt_hash_files(root, joined, sizes, 0, 1, digests, errors) == 0, "no paths at all");
        ok(volt_hash_files(root, joined, sizes, 1, 0, digests, errors) == -EINVAL, "no threads at all");
}

static void test_threads(int scratch) {
        _cleanup_free_ unsigned char *digests = calloc(N_FILES, VOLT_DIGEST_SIZE);
        _cleanup_free_ char *joined = malloc((size_t) N_FILES * 16);
        _cleanup_close_ int root = -1;
        static size_t sizes[N_FILES];
        static int errors[N_FILES];
        bool right = true;
        size_t at = 0;

        must(digests && joined && mkdirat(scratch, "threads", 0755) == 0);
        root = openat(scratch, "threads", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < N_FILES; i++) {
                sizes[i] = (size_t) snprintf(joined + at, 16, "%d", i);
                if (i % 3 != 2)
                        write_file(root, joined + at, i % 3 == 0 ? "abc" : "", 1);
                at += sizes[i] + 1;
        }
        must(volt_hash_files(root, joined, sizes, N_FILES, 8, digests, errors) == 0);
        for (int i = 0; i < N_FILES; i++)
                right = right && (i % 3 == 2 ? errors[i] == -ENOENT :
                                  errors[i] == 0 && is_digest(digests + (size_t) i * VOLT_DIGEST_SIZE,
                                                              i % 3 == 0 ? abc_digest : empty_digest));
        ok(right, "%d files in 8 threads, a third of them missing", N_FILES);
}

int main(void) {
        char path[] = "/tmp/volt-test-hash-XXXXXX", command[sizeof path + 16];
        _cleanup_close_ int scratch = -1;

        umask(022);
        must(mkdtemp(path));
        scratch = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(scratch >= 0);
        test_one(scratch);
        test_paths(scratch);
        test_threads(scratch);
        (void) snprintf(command, sizeof command, "rm -rf %s", path);
        must(system(command) == 0);
        return tap_done();
}
