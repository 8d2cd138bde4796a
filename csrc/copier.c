/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "copier.h"
#include "sha256.h"
#include "sparse.h"
#include "store.h"

static int open_object(int objects_fd, const struct entry *entry, struct stat *ret) {
        _cleanup_close_ int fd = -1;
        char path[STORE_PATH_SIZE];

        store_path(path, "objects", entry->digest);
        fd = RETRY_EINTR(openat(objects_fd, path + strlen("objects/"), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (fd < 0 || fstat(fd, ret) < 0)
                return -errno;
        return S_ISREG(ret->st_mode) && (uint64_t) ret->st_size == entry->size ? steal_fd(&fd) : -EBADMSG;
}

static bool is_no_reflink(int error) {
        return error == EOPNOTSUPP || error == EXDEV || error == ENOTTY || error == EINVAL || error == ENOSYS;
}

static int copy_range(int from, int to, off_t at, off_t end, unsigned char *buffer) {
        while (at < end) {
                size_t want = end - at < (off_t) HASHER_BUFFER_SIZE ? (size_t) (end - at) : HASHER_BUFFER_SIZE;
                ssize_t n = RETRY_EINTR(pread(from, buffer, want, at));
                int r;

                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -EIO;    /* truncated meanwhile */
                r = write_all_at(to, buffer, (size_t) n, at);
                if (r < 0)
                        return r;
                at += n;
        }
        return 0;
}

static int copy_content(int from, int to, const struct stat *st, unsigned char *buffer) {
        off_t start, end = 0;
        bool ends_in_hole = false;
        int r;

        while (end < st->st_size) {
                r = next_data(from, st, end, &start, &end);
                if (r >= 0)
                        r = copy_range(from, to, start, end, buffer);
                if (r < 0)
                        return r;
                ends_in_hole = start == end;
        }
        return ends_in_hole && ftruncate(to, st->st_size) < 0 ? -errno : 0;
}

int copy_object(int objects_fd, const struct entry *entry, const struct metadata *m, int dir_fd, const char *name,
                bool must_reflink, atomic_bool *may_reflink, unsigned char *buffer, struct left_out *left_out,
                bool *ret_reflinked) {
        _cleanup_close_ int from = -1, to = -1;
        bool reflinked = false;
        struct stat st;
        int r;

        from = must_reflink && !*may_reflink ? -1 : open_object(objects_fd, entry, &st);
        if (from < 0)
                return 0;
        to = RETRY_EINTR(openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (to < 0)
                return -errno;
        if (*may_reflink) {
                reflinked = ioctl(to, FICLONE, from) == 0;
                if (!reflinked && !is_no_reflink(errno))
                        return -errno;
                if (!reflinked)
                        *may_reflink = false;
        }
        if (must_reflink && !reflinked)
                return unlinkat(dir_fd, name, 0) < 0 ? -errno : 0;
        r = reflinked ? 0 : copy_content(from, to, &st, buffer);
        if (r >= 0)
                r = metadata_apply(to, m, left_out);
        if (r < 0)
                return r;
        *ret_reflinked = reflinked;
        return 1;
}
