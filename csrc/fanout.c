/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "fanout.h"
#include "names.h"

#define DIGITS (2U * VOLT_DIGEST_SIZE)

void fanout_done(struct fanout *f) {
        f->fd = close_fd(f->fd);
        for (unsigned i = 0; i < N_BUCKETS; i++) {
                free(f->buckets[i].files);
                buffer_done(&f->buckets[i].suffixes);
                f->buckets[i] = (struct bucket) {};
        }
}

int fanout_open_bucket(const struct fanout *f, unsigned number) {
        char name[3];
        int fd;

        (void) snprintf(name, sizeof name, "%02x", number % N_BUCKETS);
        fd = RETRY_EINTR(openat(f->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        return fd < 0 ? -errno : fd;
}

static bool is_number(const char *text) {
        return *text && text[strspn(text, "0123456789")] == 0;
}

/* What is behind the digest: nothing, or ".METADATA" or ".METADATA.N" of a variant. */
static bool is_suffix(const char *text, bool is_variant) {
        unsigned char digest[VOLT_DIGEST_SIZE];

        if (!is_variant)
                return *text == 0;
        if (*text != '.' || strnlen(text + 1, DIGITS) < DIGITS || !hex_to_bytes(digest, text + 1, VOLT_DIGEST_SIZE))
                return false;
        text += 1 + DIGITS;
        return *text == 0 || (*text == '.' && is_number(text + 1));
}

struct listing {
        struct fanout *f;
        unsigned number;
        size_t allocated;
        bool is_typed;                    /* the directory says what its entries are */
};

static int add_file(void *userdata, const char *name, unsigned char type) {
        struct listing *listing = userdata;
        struct fanout *f = listing->f;
        struct bucket *bucket = &f->buckets[listing->number];
        struct volt_stored file = {};
        const char *suffix;

        if (strnlen(name, DIGITS - 2) < DIGITS - 2)
                return 0;
        file.digest[0] = (unsigned char) listing->number;
        file.is_irregular = type != DT_REG;
        if (type == DT_UNKNOWN)
                listing->is_typed = false;
        suffix = name + DIGITS - 2;
        if (!hex_to_bytes(file.digest + 1, name, VOLT_DIGEST_SIZE - 1) || !is_suffix(suffix, f->has_suffixes))
                return 0;
        if (bucket->suffixes.size > UINT32_MAX - 256)
                return -EOVERFLOW;
        file.suffix = (uint32_t) bucket->suffixes.size;
        if (*suffix && buffer_append(&bucket->suffixes, suffix, strlen(suffix) + 1) < 0)
                return -ENOMEM;
        if (grow(&bucket->files, &listing->allocated, bucket->n + 1, sizeof file, 64) < 0)
                return -ENOMEM;
        bucket->files[bucket->n++] = file;
        return 0;
}

static int add_bucket(void *userdata, const char *name, unsigned char type) {
        struct fanout *f = userdata;
        unsigned char number;

        (void) type;
        if (strlen(name) == 2 && hex_to_bytes(&number, name, 1))
                f->buckets[number].is_there = true;
        return 0;
}

int fanout_open(struct fanout *f, int store_fd, const char *folder) {
        _cleanup_free_ char *dirents = malloc(DIRENTS_SIZE);

        *f = (struct fanout) { .folder = folder, .fd = -1, .has_suffixes = strcmp(folder, "variants") == 0 };
        if (!dirents)
                return -ENOMEM;
        f->fd = RETRY_EINTR(openat(store_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (f->fd < 0)
                return errno == ENOENT ? 0 : -errno;
        return each_name(f->fd, dirents, add_bucket, f);
}

static int by_name(const void *a, const void *b, void *suffixes) {
        const struct volt_stored *x = a, *y = b;
        int order = memcmp(x->digest, y->digest, VOLT_DIGEST_SIZE);

        if (order != 0 || !suffixes)
                return order;
        return strcmp((const char *) suffixes + x->suffix, (const char *) suffixes + y->suffix);
}

int fanout_stat(const struct fanout *f, int dir_fd, struct volt_stored *file) {
        char name[STORED_NAME_SIZE];
        struct stat st;

        stored_name(f, file, name);
        if (RETRY_EINTR(fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW)) < 0) {
                file->is_gone = errno == ENOENT;
                return file->is_gone ? 0 : -errno;
        }
        file->size = (uint64_t) st.st_size;
        file->inode = st.st_ino;
        file->is_irregular = !S_ISREG(st.st_mode);
        return 0;
}

int fanout_list(struct fanout *f, unsigned number, char *dirents) {
        struct bucket *bucket = &f->buckets[number];
        struct listing listing = { .f = f, .number = number, .is_typed = true };
        _cleanup_close_ int fd = -1;
        int r;

        if (!bucket->is_there)
                return 0;
        fd = fanout_open_bucket(f, number);
        if (fd < 0)
                return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? 0 : fd;
        r = each_name(fd, dirents, add_file, &listing);
        for (size_t i = 0; r >= 0 && !listing.is_typed && i < bucket->n; i++)
                r = fanout_stat(f, fd, &bucket->files[i]);
        if (r < 0 || bucket->n == 0)
                return r;
        qsort_r(bucket->files, bucket->n, sizeof *bucket->files, by_name, bucket->suffixes.data);
        if (listing.allocated > bucket->n) {
                struct volt_stored *trimmed = reallocarray(bucket->files, bucket->n, sizeof *trimmed);

                if (trimmed)
                        bucket->files = trimmed;
        }
        return 0;
}

int fanout_measure(struct fanout *f, unsigned number) {
        struct bucket *bucket = &f->buckets[number];
        _cleanup_close_ int fd = -1;

        for (size_t i = 0; i < bucket->n; i++) {
                struct volt_stored *file = &bucket->files[i];
                int r;

                if (file->size > 0)
                        continue;
                if (fd < 0) {
                        fd = fanout_open_bucket(f, number);
                        if (fd < 0)
                                return fd;
                }
                r = fanout_stat(f, fd, file);
                if (r < 0)
                        return r;
        }
        return 0;
}

void fanout_drop_gone(struct fanout *f) {
        for (unsigned number = 0; number < N_BUCKETS; number++) {
                struct bucket *bucket = &f->buckets[number];
                size_t kept = 0;

                for (size_t i = 0; i < bucket->n; i++)
                        if (!bucket->files[i].is_gone)
                                bucket->files[kept++] = bucket->files[i];
                bucket->n = kept;
        }
}

struct volt_stored *fanout_find(const struct fanout *f, const unsigned char *digest) {
        const struct bucket *bucket = &f->buckets[digest[0]];
        size_t low = 0, high = bucket->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (memcmp(bucket->files[middle].digest, digest, VOLT_DIGEST_SIZE) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        if (low == bucket->n || memcmp(bucket->files[low].digest, digest, VOLT_DIGEST_SIZE) != 0)
                return NULL;
        return &bucket->files[low];
}

uint64_t fanout_count(const struct fanout *f) {
        uint64_t n = 0;

        for (unsigned i = 0; i < N_BUCKETS; i++)
                n += f->buckets[i].n;
        return n;
}

void stored_name(const struct fanout *f, const struct volt_stored *file, char *ret) {
        char digits[DIGITS + 1];

        digest_to_hex(digits, file->digest);
        ret = stpcpy(ret, digits + 2);
        if (f->has_suffixes)
                (void) stpcpy(ret, (const char *) f->buckets[file->digest[0]].suffixes.data + file->suffix);
}

void failure_set(struct failure *f, int error, const char *folder, unsigned number, const char *name) {
        int none = 0;

        /* Threads are joined before anybody reads the path. */
        if (__atomic_compare_exchange_n(&f->error, &none, error, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
                (void) snprintf(f->path, sizeof f->path, "%s/%02x%s%s", folder, number, *name ? "/" : "", name);
}

bool failure_is_set(const struct failure *f) {
        return __atomic_load_n(&f->error, __ATOMIC_RELAXED) != 0;
}
