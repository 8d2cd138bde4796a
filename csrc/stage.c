/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "stage.h"
#include "sparse.h"
#include "store.h"
#include "tee.h"

int stage_init(struct stage *s, int store_fd, int staging_fd, const struct volt_owner *owner, struct volt_job *job) {
        int r;

        *s = (struct stage) { .store_fd = store_fd, .staging_fd = staging_fd, .owner = owner, .job = job };
        s->objects.fd = s->trees.fd = -1;
        pthread_mutex_init(&s->lock, NULL);
        r = fanout_open(&s->objects, store_fd, "objects");
        return r < 0 ? r : fanout_open(&s->trees, store_fd, "trees");
}

void stage_done(struct stage *s) {
        fanout_done(&s->objects);
        fanout_done(&s->trees);
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

/* Where something is to be staged. */
struct place {
        int dir_fd;
        char path[STORE_PATH_SIZE];
};

static int find_place(struct stager *s, const struct fanout *f, bool replace, const unsigned char *digest,
                      struct place *ret) {
        int r;

        if (!replace && !f->buckets[digest[0]].is_there) {
                ret->dir_fd = s->stage->staging_fd;
                store_path(stpcpy(ret->path, "new/"), f->folder, digest);
                return 0;
        }
        r = own_directory(s);
        ret->dir_fd = s->dir_fd;
        digest_to_hex(stpcpy(stpcpy(ret->path, f->folder), replace ? ".replace/" : "/"), digest);
        return r;
}

/* Makes the directories in a path; the last of them is tried first, since mostly it is the one that is missing. */
static int make_parents(int dir_fd, const char *path) {
        char parent[STORE_PATH_SIZE];
        const char *end = strrchr(path, '/');
        int r;

        if (!end)
                return 0;
        *(char *) mempcpy(parent, path, (size_t) (end - path)) = 0;
        if (mkdirat(dir_fd, parent, 0700) >= 0 || errno == EEXIST)
                return 0;
        if (errno != ENOENT)
                return -errno;
        r = make_parents(dir_fd, parent);
        if (r >= 0 && mkdirat(dir_fd, parent, 0700) < 0 && errno != EEXIST)
                return -errno;
        return r;
}

static int create(int dir_fd, const char *path) {
        for (unsigned i = 0;; i++) {
                int fd, r;

                fd = RETRY_EINTR(openat(dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
                if (fd >= 0)
                        return fd;
                if (errno != ENOENT || i > 0)
                        return -errno;
                r = make_parents(dir_fd, path);
                if (r < 0)
                        return r;
        }
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

static int write_at(struct stager *s, const struct place *place, const unsigned char *data, size_t size,
                    const struct metadata *metadata) {
        _cleanup_close_ int fd = -1;
        off_t end = 0;
        int r;

        fd = create(place->dir_fd, place->path);
        if (fd < 0)
                return fd;
        if (!metadata)
                return write_all(fd, data, size);
        r = write_sparse(fd, data, size, 0, &end);
        return r < 0 ? r : finish(s, fd, end, size, metadata);
}

int stage_new(struct stager *s, const unsigned char *digest, bool replace, const unsigned char *data, size_t size,
              const struct metadata *metadata) {
        struct place place;
        int r;

        r = find_place(s, metadata ? &s->stage->objects : &s->stage->trees, replace, digest, &place);
        return r < 0 ? r : write_at(s, &place, data, size, metadata);
}

int stage_data(struct stager *s, const unsigned char *data, size_t size, const struct metadata *metadata,
               unsigned char *ret_digest) {
        enum presence presence;
        int r;

        r = hasher_of(&s->hasher, data, size, ret_digest);
        if (r >= 0)
                r = claim(s, ret_digest, size, &presence);
        return r <= 0 ? r : stage_new(s, ret_digest, presence == PRESENCE_DAMAGED, data, size, metadata);
}

static int move_to(int from_fd, const char *from, const struct place *to) {
        for (unsigned i = 0;; i++) {
                int r;

                if (renameat(from_fd, from, to->dir_fd, to->path) >= 0)
                        return 0;
                if (errno != ENOENT || i > 0)
                        return -errno;
                r = make_parents(to->dir_fd, to->path);
                if (r < 0)
                        return r;
        }
}

int stage_file(struct stager *s, int fd, const struct stat *st, const struct metadata *metadata, bool tells,
               unsigned char *ret_digest, uint64_t *ret_size) {
        static const char temporary[] = ".large";
        _cleanup_close_ int to = -1;
        struct tee tee = { .hasher = &s->hasher, .job = s->stage->job, .tells = tells, .from = fd };
        enum presence presence;
        struct place place;
        int r;

        r = own_directory(s);
        if (r < 0)
                return r;
        to = tee.to = create(s->dir_fd, temporary);
        if (to < 0)
                return to;
        r = tee_file(&tee, st, ret_digest, ret_size);
        if (r >= 0)
                r = claim(s, ret_digest, *ret_size, &presence);
        if (r > 0) {
                r = finish(s, to, tee.end, *ret_size, metadata);
                if (r >= 0)
                        r = find_place(s, &s->stage->objects, presence == PRESENCE_DAMAGED, ret_digest, &place);
                if (r >= 0)
                        return move_to(s->dir_fd, temporary, &place);
        }
        (void) unlinkat(s->dir_fd, temporary, 0);
        return r;
}

int stage_record(struct stager *s, const unsigned char *data, size_t size, const unsigned char *digest) {
        bool replace = true;
        int r;

        r = read_record(s->stage->store_fd, digest, &s->record);
        if (r >= 0 && s->record.size == size && memcmp(s->record.data, data, size) == 0)
                return 0;
        if (r == -ENOENT)
                replace = false;
        else if (r < 0)
                return r;
        return stage_new(s, digest, replace, data, size, NULL);
}
