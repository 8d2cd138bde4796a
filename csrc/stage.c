/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "stage.h"
#include "sparse.h"
#include "store.h"
#include "tee.h"

void stage_init(struct stage *s, int store_fd, int staging_fd, const struct volt_owner *owner, struct volt_job *job) {
        *s = (struct stage) { .store_fd = store_fd, .staging_fd = staging_fd, .owner = owner, .job = job };
        pthread_mutex_init(&s->lock, NULL);
}

void stage_done(struct stage *s) {
        digest_set_done(&s->known);
        pthread_mutex_destroy(&s->lock);
}

int stager_init(struct stager *s, struct stage *stage, unsigned number, const EVP_MD *md) {
        int r;

        *s = (struct stager) { .stage = stage, .number = number, .dir_fd = -1 };
        r = hasher_init(&s->hasher, md);
        return r < 0 ? r : xattr_reader_init(&s->xattrs);
}

void stager_done(struct stager *s) {
        close_fd(s->dir_fd);
        hasher_done(&s->hasher);
        xattr_reader_done(&s->xattrs);
        left_out_done(&s->left_out);
        buffer_done(&s->scratch);
        buffer_done(&s->record);
}

static int own_directory(struct stager *s) {
        char name[16];

        if (s->dir_fd >= 0)
                return 0;
        (void) snprintf(name, sizeof name, "%u", s->number);
        if (mkdirat(s->stage->staging_fd, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        s->dir_fd = openat(s->stage->staging_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return s->dir_fd < 0 ? -errno : 0;
}

static void staged_path(char *ret, const char *folder, bool replace, const unsigned char *digest) {
        ret = stpcpy(stpcpy(ret, folder), replace ? ".replace/" : "/");
        digest_to_hex(ret, digest);
}

/* Makes the directory part of a path of two components. */
static int make_parent(int dir_fd, const char *path) {
        char folder[32];
        size_t size = (size_t) (strchr(path, '/') - path);

        memcpy(folder, path, size);
        folder[size] = 0;
        return mkdirat(dir_fd, folder, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int create(struct stager *s, const char *path) {
        int fd, r;

        r = own_directory(s);
        for (unsigned i = 0; r >= 0; i++) {
                fd = RETRY_EINTR(openat(s->dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
                if (fd >= 0)
                        return fd;
                if (errno != ENOENT || i > 0)
                        return -errno;
                r = make_parent(s->dir_fd, path);
        }
        return r;
}

/* Gives a file that was written up to `end` its size and metadata. */
static int finish(struct stager *s, int fd, off_t end, uint64_t size, const struct metadata *metadata) {
        struct metadata applicable;
        int r;

        if (end != (off_t) size && ftruncate(fd, (off_t) size) < 0)
                return -errno;
        r = metadata_applicable(s->stage->owner, metadata, &s->scratch, &s->left_out, &applicable);
        if (r < 0)
                return r;
        /* Its owner must be able to read it again; a linked checkout makes a variant with the true mode. */
        if (s->stage->owner->uid != 0)
                applicable.mode |= 0400;
        return metadata_apply(fd, &applicable, &s->left_out);
}

int find_object(const struct stage *s, const unsigned char *digest, uint64_t size, enum presence *ret) {
        char path[STORE_PATH_SIZE];
        struct stat st;

        store_path(path, "objects", digest);
        if (fstatat(s->store_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT)
                        return -errno;
                *ret = PRESENCE_MISSING;
        } else
                *ret = (uint64_t) st.st_size == size ? PRESENCE_THERE : PRESENCE_DAMAGED;
        return 0;
}

/* 1 if this thread is to write the object: the store lacks it, and no other has begun with it. */
static int claim(struct stager *s, const unsigned char *digest, uint64_t size, enum presence *ret) {
        struct stage *stage = s->stage;
        bool is_known;
        int r;

        *ret = PRESENCE_THERE;
        if (size == 0)
                return 0;
        pthread_mutex_lock(&stage->lock);
        is_known = digest_set_has(&stage->known, digest);
        pthread_mutex_unlock(&stage->lock);
        if (is_known)
                return 0;
        r = find_object(stage, digest, size, ret);
        if (r < 0 || *ret == PRESENCE_THERE)
                return r;
        pthread_mutex_lock(&stage->lock);
        r = digest_set_add(&stage->known, digest);
        if (r > 0) {
                stage->new_objects++;
                stage->new_bytes += size;
        }
        pthread_mutex_unlock(&stage->lock);
        return r;
}

int stage_write(struct stager *s, const char *path, const unsigned char *data, size_t size,
                const struct metadata *metadata) {
        _cleanup_close_ int fd = -1;
        off_t end = 0;
        int r;

        fd = create(s, path);
        if (fd < 0)
                return fd;
        if (!metadata)
                return write_all(fd, data, size);
        r = write_sparse(fd, data, size, 0, &end);
        return r < 0 ? r : finish(s, fd, end, size, metadata);
}

int stage_data(struct stager *s, const unsigned char *data, size_t size, const struct metadata *metadata,
               unsigned char *ret_digest) {
        enum presence presence;
        char path[STORE_PATH_SIZE];
        int r;

        r = hasher_of(&s->hasher, data, size, ret_digest);
        if (r >= 0)
                r = claim(s, ret_digest, size, &presence);
        if (r <= 0)
                return r;
        staged_path(path, "objects", presence == PRESENCE_DAMAGED, ret_digest);
        return stage_write(s, path, data, size, metadata);
}

int stage_file(struct stager *s, int fd, const struct stat *st, const struct metadata *metadata, bool tells,
               unsigned char *ret_digest, uint64_t *ret_size) {
        static const char temporary[] = "objects/.large";
        _cleanup_close_ int to = -1;
        struct tee tee = { .hasher = &s->hasher, .job = s->stage->job, .tells = tells, .from = fd };
        enum presence presence;
        char path[STORE_PATH_SIZE];
        int r;

        to = tee.to = create(s, temporary);
        if (to < 0)
                return to;
        r = tee_file(&tee, st, ret_digest, ret_size);
        if (r >= 0)
                r = claim(s, ret_digest, *ret_size, &presence);
        if (r > 0) {
                r = finish(s, to, tee.end, *ret_size, metadata);
                staged_path(path, "objects", presence == PRESENCE_DAMAGED, ret_digest);
                if (r >= 0 && presence == PRESENCE_DAMAGED)
                        r = make_parent(s->dir_fd, path);
                if (r >= 0)
                        return renameat(s->dir_fd, temporary, s->dir_fd, path) < 0 ? -errno : 0;
        }
        (void) unlinkat(s->dir_fd, temporary, 0);
        return r;
}

int stage_record(struct stager *s, const unsigned char *data, size_t size, const unsigned char *digest) {
        char path[STORE_PATH_SIZE];
        bool replace = true;
        int r;

        r = read_record(s->stage->store_fd, digest, &s->record);
        if (r >= 0 && s->record.size == size && memcmp(s->record.data, data, size) == 0)
                return 0;
        if (r == -ENOENT)
                replace = false;
        else if (r < 0)
                return r;
        staged_path(path, "trees", replace, digest);
        return stage_write(s, path, data, size, NULL);
}
