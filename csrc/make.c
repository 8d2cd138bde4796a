/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "make.h"

void maker_done(struct maker *m) {
        left_out_done(&m->left_out);
        buffer_done(&m->scratch);
}

static int make_empty_file(struct maker *m, int dir_fd, const char *name, const struct metadata *metadata) {
        _cleanup_close_ int fd = -1;

        fd = RETRY_EINTR(openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (fd < 0)
                return -errno;
        return metadata_apply(fd, metadata, &m->left_out);
}

static int make_symlink(int dir_fd, const char *name, const struct entry *entry) {
        char target[4096];

        memcpy(target, entry->target, entry->target_size);
        target[entry->target_size] = 0;
        return symlinkat(target, dir_fd, name) < 0 ? -errno : 0;
}

int make_entry(struct maker *m, int dir_fd, const struct entry *entry) {
        struct metadata metadata;
        char name[256];
        int r;

        entry_name(name, entry);
        r = metadata_applicable(m->owner, &entry->metadata, &m->scratch, &m->left_out, &metadata);
        if (r < 0)
                return r;
        switch (entry->type) {
        case 'f':
                r = make_empty_file(m, dir_fd, name, &metadata);
                return r < 0 ? r : 1;
        case 'l':
                r = make_symlink(dir_fd, name, entry);
                break;
        case 'p':
                r = mkfifoat(dir_fd, name, 0600) < 0 ? -errno : 0;
                break;
        default:
                r = mknodat(dir_fd, name, (entry->type == 'c' ? S_IFCHR : S_IFBLK) | 0600,
                            makedev(entry->major, entry->minor)) < 0 ? -errno : 0;
        }
        /* Not root, or a number that the file system cannot keep: XFS has 18 bits for the minor one. */
        if (entry->type != 'l' && (r == -EPERM || r == -EINVAL)) {
                m->left_out.devices++;
                return 0;
        }
        if (r >= 0)
                r = metadata_apply_at(dir_fd, name, &metadata, &m->left_out);
        return r < 0 ? r : 1;
}

mode_t filling_mode(const struct maker *m, const struct metadata *metadata) {
        bool is_ours = metadata->uid == m->owner->uid && metadata->gid == m->owner->gid;

        return is_ours ? (metadata->mode & 0777) | 0700 : 0700;
}

int finish_directory(struct maker *m, int fd, const struct metadata *metadata) {
        struct metadata applicable, found;
        struct stat st;
        int r;

        r = metadata_applicable(m->owner, metadata, &m->scratch, &m->left_out, &applicable);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        found = metadata_of(&st);
        if (applicable.n_xattrs == 0 && found.mode == applicable.mode && found.uid == applicable.uid &&
            found.gid == applicable.gid) {
                const struct timespec time = { .tv_sec = applicable.seconds, .tv_nsec = applicable.nanoseconds };

                return futimens(fd, (const struct timespec[]) { time, time }) < 0 ? -errno : 0;
        }
        return metadata_apply(fd, &applicable, &m->left_out);
}
