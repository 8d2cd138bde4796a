/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linker.h"
#include "store.h"

/* The same number on every architecture but Alpha; headers have it from Linux 6.13 on. */
#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif

#define MAX_SIBLINGS 1000000U

int linker_init(struct linker *l, int store_fd, int objects_fd, unsigned max_links, const EVP_MD *md) {
        int r;

        *l = (struct linker) { .store_fd = store_fd, .objects_fd = objects_fd, .max_links = max_links };
        r = hasher_init(&l->hasher, md);
        return r < 0 ? r : xattr_reader_init(&l->reader);
}

void linker_done(struct linker *l) {
        hasher_done(&l->hasher);
        xattr_reader_done(&l->reader);
        buffer_done(&l->xattrs);
        buffer_done(&l->encoded);
}

/* Whether a file has exactly these attributes. Nearly all have none, and what tells that without opening them is new. */
static int has_xattrs(struct linker *l, int dir_fd, const char *path, const struct metadata *m) {
        _cleanup_close_ int fd = -1;
        unsigned left_out;
        uint32_t n;
        int r;

        if (syscall(SYS_listxattrat, dir_fd, path, AT_SYMLINK_NOFOLLOW, NULL, 0) == 0)
                return m->n_xattrs == 0;
        fd = openat_noatime(dir_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        l->xattrs.size = 0;
        r = xattrs_read(&l->reader, fd, &l->xattrs, &n, &left_out);
        if (r < 0)
                return r;
        /* What a security module sets is no difference; what overlayfs would act on is. */
        return !(left_out & 1U << XATTR_OVERLAY) && l->xattrs.size == m->xattrs_size &&
                (l->xattrs.size == 0 || memcmp(l->xattrs.data, m->xattrs, l->xattrs.size) == 0);
}

enum verdict { MISSING, DIFFERENT, FULL, LINKED };

/* Links the file if it has this size and metadata. Whether its content is right is for verify. */
static int try_link(struct linker *l, int stored_fd, const char *path, uint64_t size, const struct metadata *m,
                    int dir_fd, const char *name) {
        struct metadata found;
        struct stat st;
        int r;

        if (fstatat(stored_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? MISSING : -errno;
        if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t) st.st_size != size)
                return MISSING;
        found = metadata_of(&st);
        found.xattrs = m->xattrs;
        found.xattrs_size = m->xattrs_size;
        if (!metadata_equal(&found, m))
                return DIFFERENT;
        r = has_xattrs(l, stored_fd, path, m);
        if (r <= 0)
                return r < 0 ? r : DIFFERENT;
        if (l->max_links > 0 && st.st_nlink >= l->max_links)
                return FULL;
        if (RETRY_EINTR(linkat(stored_fd, path, dir_fd, name, 0)) < 0)
                return errno == EMLINK ? FULL : -errno;
        return LINKED;
}

/* "variants/ab/cd….METADATA", to which ".N" may be added. */
static int variant_path(struct linker *l, const unsigned char *digest, const struct metadata *m, char *ret) {
        unsigned char metadata_digest[VOLT_DIGEST_SIZE];
        int r;

        l->encoded.size = 0;
        r = metadata_encode(&l->encoded, m);
        if (r >= 0)
                r = hasher_of(&l->hasher, l->encoded.data, l->encoded.size, metadata_digest);
        if (r < 0)
                return r;
        store_path(ret, "variants", digest);
        ret += strlen(ret);
        *ret++ = '.';
        digest_to_hex(ret, metadata_digest);
        return 0;
}

static int find_and_link(struct linker *l, const unsigned char *digest, uint64_t size, const struct metadata *m,
                         int dir_fd, const char *name) {
        char path[STORE_PATH_SIZE];
        size_t end;
        int r;

        store_path(path, "objects", digest);
        r = try_link(l, l->objects_fd, path + strlen("objects/"), size, m, dir_fd, name);
        if (r == MISSING || r == LINKED || r < 0)
                return r;
        r = variant_path(l, digest, m, path);
        if (r < 0)
                return r;
        end = strlen(path);
        r = try_link(l, l->store_fd, path, size, m, dir_fd, name);
        for (unsigned i = 1; r == FULL && i < MAX_SIBLINGS; i++) {
                (void) snprintf(path + end, sizeof path - end, ".%u", i);
                r = try_link(l, l->store_fd, path, size, m, dir_fd, name);
        }
        return r;
}

int linker_link(struct linker *l, const unsigned char *digest, uint64_t size, const struct metadata *m,
                int dir_fd, const char *name) {
        int r;

        r = find_and_link(l, digest, size, m, dir_fd, name);
        switch (r) {
        case LINKED:
                return 1;
        case -EEXIST:
        case -ENOSPC:
        case -EDQUOT:
        case -ENOMEM:
        case -EROFS:
        case -EIO:
                return r;
        default:
                return 0;
        }
}
