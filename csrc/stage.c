/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "stage.h"
#include "store.h"

#define BLOCK 4096U

void stage_init(struct stage *s, int store_fd, int staging_fd, const struct volt_owner *owner) {
        *s = (struct stage) { .store_fd = store_fd, .staging_fd = staging_fd, .owner = owner };
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

static int write_all_at(int fd, const unsigned char *data, size_t size, off_t offset) {
        while (size > 0) {
                ssize_t n = RETRY_EINTR(pwrite(fd, data, size, offset));

                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t) n;
                offset += n;
        }
        return 0;
}

static bool is_zero(const unsigned char *data, size_t size) {
        return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* Writes without aligned blocks of zeros. *end is where the file ends by now, if that was written. */
static int write_sparse(int fd, const unsigned char *data, size_t size, off_t offset, off_t *end) {
        size_t start = 0, at = 0;
        int r;

        while (at < size) {
                size_t n = BLOCK - ((size_t) offset + at) % BLOCK;

                if (n > size - at)
                        n = size - at;
                if (is_zero(data + at, n)) {
                        r = write_all_at(fd, data + start, at - start, offset + (off_t) start);
                        if (r < 0)
                                return r;
                        if (start < at)
                                *end = offset + (off_t) at;
                        start = at + n;
                }
                at += n;
        }
        if (start < at)
                *end = offset + (off_t) at;
        return write_all_at(fd, data + start, at - start, offset + (off_t) start);
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

/* Hashes zeros that take no room. */
static int hash_hole(struct hasher *h, uint64_t size) {
        size_t most = size < HASHER_BUFFER_SIZE ? size : HASHER_BUFFER_SIZE;

        memset(h->buffer, 0, most);
        for (; size > 0; size -= most) {
                if (size < most)
                        most = size;
                if (!EVP_DigestUpdate(h->context, h->buffer, most))
                        return -ENOMEM;
        }
        return 0;
}

/* Hashes what lies between two offsets and writes it to the same ones. *ret_at is where it really ended. */
static int tee_range(struct hasher *h, int from, int to, off_t start, off_t end, off_t *ret_at, off_t *written) {
        while (start < end) {
                size_t want = end - start < HASHER_BUFFER_SIZE ? (size_t) (end - start) : HASHER_BUFFER_SIZE;
                ssize_t n = RETRY_EINTR(pread(from, h->buffer, want, start));
                int r;

                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                if (!EVP_DigestUpdate(h->context, h->buffer, (size_t) n))
                        return -ENOMEM;
                r = write_sparse(to, h->buffer, (size_t) n, start, written);
                if (r < 0)
                        return r;
                start += n;
        }
        *ret_at = start;
        return 0;
}

/* Hashes a file and writes it to another, hole by hole where it has some. */
static int copy_and_hash(struct hasher *h, int from, int to, const struct stat *st,
                         unsigned char *ret_digest, uint64_t *ret_size, off_t *ret_written) {
        bool has_holes = st->st_blocks * 512 < st->st_size;
        off_t at = 0, written = 0;
        int r;

        if (!EVP_DigestInit_ex(h->context, h->md, NULL))
                return -ENOMEM;
        while (at < st->st_size) {
                off_t start = has_holes ? lseek(from, at, SEEK_DATA) : 0;
                off_t end = has_holes && start >= 0 ? lseek(from, start, SEEK_HOLE) : st->st_size;

                if (start < 0 && errno == ENXIO)
                        start = end = st->st_size;
                if (start < 0 || end < 0)
                        return -errno;
                if (start > st->st_size)
                        start = st->st_size;
                if (end > st->st_size)
                        end = st->st_size;
                r = hash_hole(h, (uint64_t) (start - at));
                if (r < 0)
                        return r;
                r = tee_range(h, from, to, start, end, &at, &written);
                if (r < 0)
                        return r;
                if (at < end)
                        break;
        }
        if (!EVP_DigestFinal_ex(h->context, ret_digest, NULL))
                return -ENOMEM;
        *ret_size = (uint64_t) at;
        *ret_written = written;
        return 0;
}

int stage_file(struct stager *s, int fd, const struct stat *st, const struct metadata *metadata,
               unsigned char *ret_digest, uint64_t *ret_size) {
        static const char temporary[] = "objects/.large";
        _cleanup_close_ int to = -1;
        enum presence presence;
        char path[STORE_PATH_SIZE];
        off_t written = 0;
        int r;

        to = create(s, temporary);
        if (to < 0)
                return to;
        r = copy_and_hash(&s->hasher, fd, to, st, ret_digest, ret_size, &written);
        if (r >= 0)
                r = claim(s, ret_digest, *ret_size, &presence);
        if (r > 0) {
                r = finish(s, to, written, *ret_size, metadata);
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

        store_path(path, "trees", digest);
        r = read_whole(s->stage->store_fd, path, &s->record);
        if (r >= 0 && s->record.size == size && memcmp(s->record.data, data, size) == 0)
                return 0;
        if (r == -ENOENT)
                replace = false;
        else if (r < 0)
                return r;
        staged_path(path, "trees", replace, digest);
        return stage_write(s, path, data, size, NULL);
}

int volt_stage_files(int staging_fd, unsigned number, const struct volt_owner *owner,
                     const struct volt_staged_file *files, size_t n_files) {
        struct stage stage;
        struct stager stager = { .stage = &stage, .number = number, .dir_fd = -1 };
        int r = 0;

        if (number == 0)
                return -EINVAL;
        stage_init(&stage, -1, staging_fd, owner);
        for (size_t i = 0; r >= 0 && i < n_files; i++) {
                struct metadata metadata;
                bool is_record = !files[i].metadata;

                if (!is_record)
                        r = metadata_decode(files[i].metadata, files[i].metadata_size, &metadata);
                if (r >= 0)
                        r = stage_write(&stager, files[i].path, files[i].data, files[i].size,
                                        is_record ? NULL : &metadata);
        }
        stager_done(&stager);
        stage_done(&stage);
        return r;
}
