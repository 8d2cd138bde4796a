/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "metadata.h"

#define CAPABILITY "security.capability"

struct metadata metadata_of(const struct stat *st) {
        return (struct metadata) {
                .mode = st->st_mode & 07777,
                .uid = st->st_uid,
                .gid = st->st_gid,
                .seconds = st->st_mtim.tv_sec,
                .nanoseconds = (uint32_t) st->st_mtim.tv_nsec,
        };
}

int xattr_reader_init(struct xattr_reader *r) {
        r->names = malloc(XATTR_LIST_SIZE);
        r->value = malloc(XATTR_VALUE_SIZE);
        return r->names && r->value ? 0 : -ENOMEM;
}

void xattr_reader_done(struct xattr_reader *r) {
        free(r->names);
        free(r->value);
        free(r->sorted);
}

static bool begins(const char *name, const char *start) {
        return strncmp(name, start, strlen(start)) == 0;
}

static enum xattr_verdict judge(const char *name) {
        if (is_kept_xattr(name))
                return XATTR_KEPT;
        if (begins(name, "trusted.overlay.") || begins(name, "user.overlay."))
                return XATTR_OVERLAY;
        if (begins(name, "security."))
                return XATTR_SECURITY;
        if (begins(name, "system."))
                return XATTR_SYSTEM;
        if (begins(name, "trusted."))
                return XATTR_TRUSTED;
        return XATTR_UNKNOWN;
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Where the attributes are: an open file, or a path. */
struct place {
        int fd;
        const char *path;
};

static ssize_t place_list(const struct place *at, char *names, size_t size) {
        return at->path ? llistxattr(at->path, names, size) : flistxattr(at->fd, names, size);
}

static ssize_t place_get(const struct place *at, const char *name, void *value, size_t size) {
        return at->path ? lgetxattr(at->path, name, value, size) : fgetxattr(at->fd, name, value, size);
}

static int read_all(struct xattr_reader *reader, const struct place *at, struct buffer *encoded,
                    uint32_t *ret_n, unsigned *ret_left_out) {
        unsigned left_out = 0;
        size_t n_names = 0;
        uint32_t n = 0;
        ssize_t size;
        int r;

        size = place_list(at, reader->names, XATTR_LIST_SIZE);
        if (size < 0 && errno != ENOTSUP && errno != EPERM)
                return -errno;
        for (ssize_t i = 0; i < size; i += (ssize_t) strlen(reader->names + i) + 1) {
                enum xattr_verdict verdict = judge(reader->names + i);

                if (verdict != XATTR_KEPT) {
                        left_out |= 1U << verdict;
                        continue;
                }
                r = grow(&reader->sorted, &reader->sorted_allocated, n_names + 1, sizeof *reader->sorted, 8);
                if (r < 0)
                        return r;
                reader->sorted[n_names++] = reader->names + i;
        }
        if (n_names > 1)
                qsort(reader->sorted, n_names, sizeof *reader->sorted, compare_strings);
        for (size_t i = 0; i < n_names; i++) {
                size = place_get(at, reader->sorted[i], reader->value, XATTR_VALUE_SIZE);
                if (size < 0 && (errno == ENOTSUP || errno == EPERM || errno == EACCES)) {
                        left_out |= 1U << XATTR_UNREADABLE;
                        continue;
                }
                if (size < 0 && errno == ENODATA)    /* removed meanwhile */
                        continue;
                if (size < 0)
                        return -errno;
                r = xattr_encode(encoded, reader->sorted[i], reader->value, (size_t) size);
                if (r < 0)
                        return r;
                n++;
        }
        *ret_n = n;
        *ret_left_out = left_out;
        return 0;
}

int xattrs_read(struct xattr_reader *r, int fd, struct buffer *encoded, uint32_t *ret_n, unsigned *ret_left_out) {
        return read_all(r, &(struct place) { .fd = fd }, encoded, ret_n, ret_left_out);
}

int xattrs_read_path(struct xattr_reader *r, const char *path, struct buffer *encoded,
                     uint32_t *ret_n, unsigned *ret_left_out) {
        return read_all(r, &(struct place) { .fd = -1, .path = path }, encoded, ret_n, ret_left_out);
}

void left_out_done(struct left_out *l) {
        buffer_done(&l->xattrs);
}

static int refuse_xattr(struct left_out *l, const char *name) {
        for (size_t i = 0; i < l->xattrs.size; i += strlen((char *) l->xattrs.data + i) + 1)
                if (strcmp((char *) l->xattrs.data + i, name) == 0)
                        return 0;
        return buffer_append(&l->xattrs, name, strlen(name) + 1);
}

int left_out_merge(struct left_out *into, const struct left_out *from) {
        int r = 0;

        into->owners += from->owners;
        into->devices += from->devices;
        for (size_t i = 0; r >= 0 && i < from->xattrs.size; i += strlen((char *) from->xattrs.data + i) + 1)
                r = refuse_xattr(into, (char *) from->xattrs.data + i);
        return r;
}

static bool is_in(uint32_t identity, const struct volt_range *ranges, size_t n_ranges) {
        for (size_t i = 0; i < n_ranges; i++)
                if (identity >= ranges[i].first && identity - ranges[i].first < ranges[i].n)
                        return true;
        return false;
}

/* Copies the attributes but for capabilities. */
static int without_capability(struct buffer *scratch, struct left_out *left_out, struct metadata *m) {
        const unsigned char *at = m->xattrs, *end = m->xattrs + m->xattrs_size, *start, *name, *value;
        size_t name_size, value_size;
        uint32_t n = 0;
        int r;

        scratch->size = 0;
        while (start = at, (r = xattr_next(&at, end, &name, &name_size, &value, &value_size)) > 0) {
                if (name_size == strlen(CAPABILITY) && memcmp(name, CAPABILITY, name_size) == 0)
                        r = refuse_xattr(left_out, CAPABILITY);
                else {
                        r = buffer_append(scratch, start, (size_t) (at - start));
                        n++;
                }
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        m->xattrs = scratch->data;
        m->xattrs_size = scratch->size;
        m->n_xattrs = n;
        return 0;
}

int metadata_applicable(const struct volt_owner *owner, const struct metadata *m, struct buffer *scratch,
                        struct left_out *left_out, struct metadata *ret) {
        struct metadata found = *m;

        if (!owner->may_all) {
                bool have_uid = is_in(m->uid, owner->uids, owner->n_uids);
                bool have_gid = is_in(m->gid, owner->gids, owner->n_gids);

                if (!have_uid)
                        found.uid = owner->uid;
                if (!have_gid)
                        found.gid = owner->gid;
                if (!have_uid || !have_gid) {
                        left_out->owners++;
                        found.mode &= 01777;
                }
                if (m->n_xattrs > 0 && !owner->may_capabilities) {
                        int r = without_capability(scratch, left_out, &found);

                        if (r < 0)
                                return r;
                }
        }
        *ret = found;
        return 0;
}

/* Unknown to the target file system, not for this user to set, or too large: ext4 says ENOSPC to 4 KiB, full or not. */
static bool is_refusal(int error, const struct place *at) {
        struct statvfs room;

        switch (error) {
        case ENOTSUP:
        case EPERM:
        case EACCES:
        case EINVAL:
        case E2BIG:
        case ERANGE:
                return true;
        case ENOSPC:
                return (at->path ? statvfs(at->path, &room) : fstatvfs(at->fd, &room)) == 0 && room.f_bavail > 0;
        default:
                return false;
        }
}

static int set_xattrs(const struct place *at, const struct metadata *m, struct left_out *left_out) {
        const unsigned char *p = m->xattrs, *end = m->xattrs + m->xattrs_size, *name, *value;
        size_t name_size, value_size;
        int r;

        if (m->n_xattrs == 0)
                return 0;
        while ((r = xattr_next(&p, end, &name, &name_size, &value, &value_size)) > 0) {
                char text[256];

                memcpy(text, name, name_size);
                text[name_size] = 0;
                if (at->path)
                        r = lsetxattr(at->path, text, value, value_size, 0);
                else
                        r = fsetxattr(at->fd, text, value, value_size, 0);
                if (r < 0) {
                        int error = errno;

                        if (!is_refusal(error, at))
                                return -error;
                        r = refuse_xattr(left_out, text);
                        if (r < 0)
                                return r;
                }
        }
        return r;
}

/* Whether an owner could be given away. EINVAL: root of a user namespace that has no such id. */
static int chown_done(int result, struct left_out *left_out) {
        if (result >= 0)
                return 1;
        if (errno != EPERM && errno != EINVAL)
                return -errno;
        left_out->owners++;
        return 0;
}

int metadata_apply(int fd, const struct metadata *m, struct left_out *left_out) {
        const struct timespec times[] = {
                { .tv_sec = m->seconds, .tv_nsec = m->nanoseconds },
                { .tv_sec = m->seconds, .tv_nsec = m->nanoseconds },
        };
        int owned, r;

        /* In this order: chown drops capabilities and set-uid bits, an ACL changes the mode's group bits. */
        owned = chown_done(fchown(fd, m->uid, m->gid), left_out);
        if (owned < 0)
                return owned;
        r = set_xattrs(&(struct place) { .fd = fd }, m, left_out);
        if (r < 0)
                return r;
        if (fchmod(fd, owned ? m->mode : m->mode & 01777) < 0 || futimens(fd, times) < 0)
                return -errno;
        return 0;
}

int metadata_apply_at(int dir_fd, const char *name, const struct metadata *m, struct left_out *left_out) {
        const struct timespec times[] = {
                { .tv_sec = m->seconds, .tv_nsec = m->nanoseconds },
                { .tv_sec = m->seconds, .tv_nsec = m->nanoseconds },
        };
        struct stat st;
        int owned, r;

        owned = chown_done(fchownat(dir_fd, name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW), left_out);
        if (owned < 0)
                return owned;
        if (m->n_xattrs > 0) {
                char path[64 + 256];

                (void) snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dir_fd, name);
                r = set_xattrs(&(struct place) { .fd = -1, .path = path }, m, left_out);
                if (r < 0)
                        return r;
        }
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISLNK(st.st_mode) && fchmodat(dir_fd, name, owned ? m->mode : m->mode & 01777, 0) < 0)
                return -errno;
        if (utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return 0;
}
