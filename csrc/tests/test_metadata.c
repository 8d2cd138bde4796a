/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "metadata.h"
#include "record.h"
#include "tap.h"
#include "util.h"

static int make_file(int root, const char *name) {
        int fd = openat(root, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

        must(fd >= 0);
        return fd;
}

/* Appends the names of encoded attributes to `ret`, with commas between them. */
static void names_of(const struct metadata *m, char *ret) {
        const unsigned char *at = m->xattrs, *end = at + m->xattrs_size, *name, *value;
        size_t name_size, value_size;

        *ret = 0;
        while (at != end && xattr_next(&at, end, &name, &name_size, &value, &value_size) == 1) {
                memcpy(ret, name, name_size);
                ret += name_size;
                *ret++ = ',';
                *ret = 0;
        }
}

static void test_kept(void) {
        static const char *const kept[] = {
                "user.", "user.a", "user.overlayfs", "security.capability", "system.posix_acl_access", "system.posix_acl_default",
        };
        static const char *const not_kept[] = {
                "", "user", "user.overlay.opaque", "trusted.overlay.opaque", "trusted.a", "security.selinux", "security.capability2",
                "system.posix_acl_accesss", "btrfs.compression",
        };
        bool right = true;

        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
                right = right && is_kept_xattr(kept[i]);
        for (size_t i = 0; i < sizeof not_kept / sizeof *not_kept; i++)
                right = right && !is_kept_xattr(not_kept[i]);
        ok(right, "which attributes are kept");
}

static void test_read(int root) {
        struct xattr_reader reader __attribute__((cleanup(xattr_reader_done))) = {};
        _cleanup_buffer_ struct buffer encoded = {}, by_path = {};
        _cleanup_close_ int fd = make_file(root, "read");
        struct metadata m = {};
        unsigned left_out, path_left_out;
        char names[512], path[64];
        uint32_t n, path_n;
        bool is_root;

        must(xattr_reader_init(&reader) == 0);
        ok(xattrs_read(&reader, fd, &encoded, &n, &left_out) == 0 && n == 0 && left_out == 0 && encoded.size == 0, "no attributes");
        if (fsetxattr(fd, "user.b", "2", 1, 0) < 0) {
                ok(true, "# SKIP this file system has no user attributes");
                return;
        }
        must(fsetxattr(fd, "user.a", "", 0, 0) == 0 && fsetxattr(fd, "user.overlay.opaque", "y", 1, 0) == 0);
        is_root = fsetxattr(fd, "trusted.volt", "x", 1, 0) == 0;
        ok(xattrs_read(&reader, fd, &encoded, &n, &left_out) == 0 && n == 2, "two are kept");
        m.xattrs = encoded.data;
        m.xattrs_size = encoded.size;
        names_of(&m, names);
        ok(strcmp(names, "user.a,user.b,") == 0, "sorted by name");
        ok(left_out == (1U << XATTR_OVERLAY | (is_root ? 1U << XATTR_TRUSTED : 0)), "the others are told");
        (void) snprintf(path, sizeof path, "/proc/self/fd/%d/read", root);
        ok(xattrs_read_path(&reader, path, &by_path, &path_n, &path_left_out) == 0 && path_n == n &&
           path_left_out == left_out && by_path.size == encoded.size &&
           memcmp(by_path.data, encoded.data, encoded.size) == 0, "the same by path");
        ok(xattrs_read(&reader, -1, &encoded, &n, &left_out) == -EBADF, "a closed descriptor");
}

static void test_applicable(void) {
        const struct volt_range uids[] = { { .first = 1000, .n = 1 }, { .first = 100000, .n = 65536 } };
        const struct volt_range gids[] = { { .first = 1000, .n = 1 }, { .first = UINT32_MAX - 1, .n = 2 } };
        struct volt_owner owner = {
                .uid = 1000, .gid = 1000, .uids = uids, .n_uids = 2, .gids = gids, .n_gids = 2,
        };
        const struct volt_owner all = { .may_all = true };
        struct left_out left_out __attribute__((cleanup(left_out_done))) = {};
        _cleanup_buffer_ struct buffer encoded = {}, scratch = {};
        struct metadata m = { .mode = 06755, .uid = 165535, .gid = UINT32_MAX - 1, .seconds = -5 }, found;
        char names[512];

        must(xattr_encode(&encoded, "security.capability", "cap", 3) == 0 && xattr_encode(&encoded, "user.a", "", 0) == 0);
        ok(metadata_applicable(&owner, &m, &scratch, &left_out, &found) == 0 && metadata_equal(&m, &found) &&
           left_out.owners == 0, "owners that are ours to give, the last of each range");
        m.uid = 165536;
        ok(metadata_applicable(&owner, &m, &scratch, &left_out, &found) == 0 && found.uid == 1000 && found.gid == m.gid &&
           found.mode == 0755 && found.seconds == -5 && left_out.owners == 1,
           "one beyond it: it becomes ours, without its set-uid and set-gid bits");
        m.uid = 1000;
        m.gid = 999;
        m.mode = 01777 | 02000;
        ok(metadata_applicable(&owner, &m, &scratch, &left_out, &found) == 0 && found.gid == 1000 && found.mode == 01777 &&
           left_out.owners == 2, "a group that is not: the sticky bit stays");
        m.gid = 1000;
        m.xattrs = encoded.data;
        m.xattrs_size = encoded.size;
        m.n_xattrs = 2;
        ok(metadata_applicable(&owner, &m, &scratch, &left_out, &found) == 0 && found.n_xattrs == 1, "no capability for others");
        names_of(&found, names);
        ok(strcmp(names, "user.a,") == 0 && strcmp((char *) left_out.xattrs.data, "security.capability") == 0, "and it is told");
        owner.may_capabilities = true;
        ok(metadata_applicable(&owner, &m, &scratch, &left_out, &found) == 0 && metadata_equal(&m, &found), "for those who may");
        m.uid = m.gid = 4711;
        ok(metadata_applicable(&all, &m, &scratch, &left_out, &found) == 0 && metadata_equal(&m, &found), "all of it for root");
}

static void test_merge(void) {
        struct left_out one __attribute__((cleanup(left_out_done))) = { .owners = 1, .devices = 2 };
        struct left_out other __attribute__((cleanup(left_out_done))) = { .owners = 10, .devices = 20 };

        must(buffer_append(&one.xattrs, "user.a\0user.b", 14) == 0 && buffer_append(&other.xattrs, "user.b\0user.c", 14) == 0);
        ok(left_out_merge(&one, &other) == 0 && one.owners == 11 && one.devices == 22 && one.xattrs.size == 21 &&
           memcmp(one.xattrs.data, "user.a\0user.b\0user.c", 21) == 0, "names are told once");
}

static void test_apply(int root) {
        struct left_out left_out __attribute__((cleanup(left_out_done))) = {};
        const struct metadata m = {
                .mode = 04751, .uid = geteuid(), .gid = getegid(), .seconds = -2, .nanoseconds = 999999999,
        };
        const struct metadata link = { .mode = 0777, .uid = geteuid(), .gid = getegid(), .seconds = 10, .nanoseconds = 7 };
        struct metadata foreign = m;
        _cleanup_close_ int fd = make_file(root, "apply"), theirs = make_file(root, "theirs");
        struct stat st;
        uid_t before;
        int r;

        must(metadata_apply(fd, &m, &left_out) == 0 && fstat(fd, &st) == 0);
        {
                const struct metadata found = metadata_of(&st);

                ok(metadata_equal(&m, &found), "a file has what it was given");
        }
        must(symlinkat("nowhere", root, "link") == 0);
        ok(metadata_apply_at(root, "link", &link, &left_out) == 0 && fstatat(root, "link", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           st.st_mtim.tv_sec == 10 && st.st_mtim.tv_nsec == 7, "a link, which leads nowhere");
        must(mkfifoat(root, "fifo", 0600) == 0);
        ok(metadata_apply_at(root, "fifo", &m, &left_out) == 0 && fstatat(root, "fifo", &st, 0) == 0 &&
           (st.st_mode & 07777) == 04751 && st.st_mtim.tv_sec == -2, "a fifo, which is not opened");
        ok(left_out.owners == 0 && left_out.xattrs.size == 0, "nothing was left out");
        ok(metadata_apply_at(root, "missing", &m, &left_out) == -ENOENT && metadata_apply(-1, &m, &left_out) == -EBADF,
           "what is not there");

        /* As one who may not give files away. */
        before = geteuid();
        if (before == 0)
                must(fchown(theirs, 65534, 65534) == 0 && seteuid(65534) == 0);
        foreign.uid = 12345;
        r = metadata_apply(theirs, &foreign, &left_out);
        must(geteuid() == before || seteuid(before) == 0);
        ok(r == 0 && left_out.owners == 1 && fstat(theirs, &st) == 0 && st.st_uid != 12345 && (st.st_mode & 07777) == 0751,
           "an owner that cannot be given costs the set-uid bit and is counted");
}

int main(void) {
        char path[] = "/tmp/volt-test-metadata-XXXXXX", command[sizeof path + 16];
        _cleanup_close_ int root = -1;

        umask(022);
        must(mkdtemp(path));
        root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(root >= 0);
        test_kept();
        test_read(root);
        test_applicable();
        test_merge();
        test_apply(root);
        (void) snprintf(command, sizeof command, "rm -rf %s", path);
        must(system(command) == 0);
        return tap_done();
}
