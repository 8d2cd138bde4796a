/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "store.h"
#include "tap.h"
#include "util.h"

#define DEEP_LEVELS 300

static bool is_at(int fd, int root, const char *path) {
        struct stat a, b;

        return fd >= 0 && fstat(fd, &a) == 0 && fstatat(root, path, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
                a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int open_in(struct chain *chain, const char *path) {
        return chain_open(chain, path, strlen(path));
}

static unsigned count_descriptors(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 1024; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static void test_clean(void) {
        static const char *const clean[] = { "a", "a/b", "...", "a/..b", ".a/b.", "\xff\n" };
        static const char *const unclean[] = { "", "/", "/a", "a/", "a//b", ".", "..", "a/.", "a/..", "./a", "../a", "a/../b" };
        bool right = true;

        for (size_t i = 0; i < sizeof clean / sizeof *clean; i++)
                right = right && path_is_clean(clean[i], strlen(clean[i]));
        ok(right, "paths of plain components");
        right = true;
        for (size_t i = 0; i < sizeof unclean / sizeof *unclean; i++)
                right = right && !path_is_clean(unclean[i], strlen(unclean[i]));
        ok(right && !path_is_clean("a\0b", 3), "paths with anything else");
}

static void test_neighbours(int root) {
        struct chain chain _cleanup_chain_;
        int fd;

        must(mkdirat(root, "a", 0755) == 0 && mkdirat(root, "a/b", 0755) == 0 && mkdirat(root, "a/b/c", 0755) == 0 &&
             mkdirat(root, "ab", 0755) == 0 && mkdirat(root, "a/bb", 0755) == 0 && symlinkat("a", root, "link") == 0 &&
             mknodat(root, "file", S_IFREG | 0644, 0) == 0);
        chain_init(&chain, root);
        ok(open_in(&chain, "") == root, "the empty path is the root");
        ok(is_at(open_in(&chain, "a/b/c"), root, "a/b/c") && chain.n_levels == 3, "three levels stay open");
        fd = chain.fds[1];
        ok(is_at(open_in(&chain, "a/b"), root, "a/b") && chain.fds[1] == fd, "what is shared is not opened anew");
        ok(is_at(open_in(&chain, "a/bb"), root, "a/bb"), "a name that begins alike");
        ok(is_at(open_in(&chain, "ab"), root, "ab") && chain.n_levels == 1, "and one level above");
        ok(is_at(open_in(&chain, "a"), root, "a"), "a name that is the start of the last one");
        ok(open_in(&chain, "link") == -ENOTDIR || open_in(&chain, "link") == -ELOOP, "a link is not followed");
        ok(open_in(&chain, "link/b") < 0, "nor in the middle");
        ok(open_in(&chain, "file") == -ENOTDIR, "a file is no directory");
        ok(open_in(&chain, "a/missing/c") == -ENOENT && is_at(open_in(&chain, "a/b"), root, "a/b"), "it works after a failure");
        ok(open_in(&chain, "") == root && chain.n_levels == 0, "back at the root");
}

static void test_long_names(int root) {
        struct chain chain _cleanup_chain_;
        char name[257];

        memset(name, 'n', sizeof name);
        chain_init(&chain, root);
        must(mkdirat(root, "n", 0755) == 0);
        ok(chain_open(&chain, name, 256) == -ENAMETOOLONG, "a name of 256 bytes");
        ok(chain_open(&chain, name, 255) == -ENOENT, "one of 255 that is not there");
}

/* Longer than PATH_MAX, and deeper than descriptors are kept. */
static void test_deep(int root) {
        unsigned before = count_descriptors();
        char path[DEEP_LEVELS * 21];
        struct stat bottom, st;
        bool right = true;
        int fd = dup(root);

        must(fd >= 0);
        for (unsigned i = 0; i < DEEP_LEVELS; i++) {
                int inner;

                must(mkdirat(fd, "dddddddddddddddddddd", 0755) == 0);
                inner = openat(fd, "dddddddddddddddddddd", O_PATH | O_CLOEXEC);
                must(inner >= 0);
                close(fd);
                fd = inner;
                memcpy(path + i * 21, "/dddddddddddddddddddd", 21);
        }
        must(fstat(fd, &bottom) == 0);
        close(fd);
        {
                struct chain chain _cleanup_chain_;

                chain_init(&chain, root);
                fd = chain_open(&chain, path + 1, sizeof path - 1);
                ok(fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == bottom.st_ino, "%d levels", DEEP_LEVELS);
                ok(chain_open(&chain, path + 1, sizeof path - 1) == fd, "the same path once more");
                ok(count_descriptors() <= before + CHAIN_LEVELS + 1, "with few descriptors");
                /* Up and down across the level from which on only the last one is kept. */
                for (unsigned levels = CHAIN_LEVELS - 2; levels < CHAIN_LEVELS + 3; levels++) {
                        fd = chain_open(&chain, path + 1, levels * 21 - 1);
                        right = right && fd >= 0 && fstat(fd, &st) == 0 && st.st_ino != bottom.st_ino;
                        fd = chain_open(&chain, path + 1, sizeof path - 1);
                        right = right && fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == bottom.st_ino;
                }
                ok(right, "up and down");
        }
        ok(count_descriptors() == before, "and none is left");
}

static void test_digests(void) {
        unsigned char digest[VOLT_DIGEST_SIZE], again[VOLT_DIGEST_SIZE];
        char hex[2 * VOLT_DIGEST_SIZE + 1], path[STORE_PATH_SIZE];

        for (unsigned i = 0; i < VOLT_DIGEST_SIZE; i++)
                digest[i] = (unsigned char) (i * 41 + 10);
        digest_to_hex(hex, digest);
        ok(strlen(hex) == 64 && strncmp(hex, "0a335c85ae", 10) == 0, "a digest as text");
        ok(hex_to_bytes(again, hex, sizeof again) && memcmp(digest, again, sizeof digest) == 0, "and back");
        store_path(path, "objects", digest);
        ok(strncmp(path, "objects/0a/335c85ae", 19) == 0 && strlen(path) == 8 + 3 + 62, "its path in a store");
        ok(!hex_to_bytes(again, "0A", 1) && !hex_to_bytes(again, "g0", 1) && !hex_to_bytes(again, "0/", 1) &&
           !hex_to_bytes(again, "0", 1) && !hex_to_bytes(again, "", 1), "no text but lower-case digits");
}

static void test_whole(int root) {
        _cleanup_buffer_ struct buffer whole = {};
        _cleanup_close_ int fd = -1;
        unsigned char big[10000];

        memset(big, 'x', sizeof big);
        fd = openat(root, "whole", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        must(fd >= 0 && buffer_append(&whole, "before", 6) == 0);
        ok(read_whole(root, "whole", &whole) == 0 && whole.size == 0, "an empty file, in place of what there was");
        must(write_all(fd, big, sizeof big) == 0);
        ok(read_whole(root, "whole", &whole) == 0 && whole.size == sizeof big && memcmp(whole.data, big, sizeof big) == 0,
           "a file");
        must(ftruncate(fd, 2048L * 1024 * 1024) == 0);
        ok(read_whole(root, "whole", &whole) == -EFBIG, "an absurd one");
        ok(read_whole(root, "link", &whole) == -ELOOP && read_whole(root, "a", &whole) == -EINVAL &&
           read_whole(root, "missing", &whole) == -ENOENT, "no link, no directory, nothing");
        must(mkfifoat(root, "fifo", 0600) == 0);
        ok(read_whole(root, "fifo", &whole) == -EINVAL, "a fifo, at once");
        /* Says that it has no bytes, and has some. */
        ok(read_whole(AT_FDCWD, "/proc/self/status", &whole) == 0 && whole.size > 100, "a file of unknown size");
        ok(write_all(-1, big, 1) == -EBADF && write_all(-1, big, 0) == 0, "what cannot be written");
}

int main(void) {
        char path[] = "/tmp/volt-test-chain-XXXXXX", command[sizeof path + 16];
        _cleanup_close_ int root = -1;

        umask(022);
        must(mkdtemp(path));
        root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(root >= 0);
        test_clean();
        test_neighbours(root);
        test_long_names(root);
        test_deep(root);
        test_digests();
        test_whole(root);
        (void) snprintf(command, sizeof command, "rm -rf %s", path);
        must(system(command) == 0);
        return tap_done();
}
