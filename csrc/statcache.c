/* SPDX-License-Identifier: Apache-2.0 */
#include "statcache.h"
#include "store.h"

#define FLUSH_SIZE (256U * 1024)

struct header {
        char magic[8];
        uint32_t version;
        uint32_t reserved;
};

static const struct header header = { .magic = "voltstat", .version = 2 };

void statcache_done(struct statcache *c) {
        buffer_done(&c->data);
        free(c->slots);
        *c = (struct statcache) {};
}

static size_t slot_of(const struct statcache *c, uint64_t dev, uint64_t ino) {
        /* The multiplier of Knuth's multiplicative hashing: neighbours must not crowd. */
        return (size_t) ((ino ^ dev << 32) * 0x9e3779b97f4a7c15U >> 20) & (c->n_slots - 1);
}

static const struct statcache_entry *entry_at(const struct statcache *c, size_t at) {
        return (const struct statcache_entry *) (c->data.data + at);
}

/* The size of the entry at an offset with its attributes, or 0 where there is no whole one. */
static size_t whole_size(const struct statcache *c, size_t at) {
        size_t left = c->data.size - at, xattrs_size;

        if (left < sizeof(struct statcache_entry))
                return 0;
        left -= sizeof(struct statcache_entry);
        xattrs_size = ((size_t) entry_at(c, at)->xattrs_size + 7) & ~(size_t) 7;
        return xattrs_size > left ? 0 : sizeof(struct statcache_entry) + xattrs_size;
}

int statcache_index(struct statcache *c) {
        size_t n = 0, size;

        if (c->data.size < sizeof header || memcmp(c->data.data, &header, sizeof header) != 0 ||
            c->data.size / 8 > UINT32_MAX) {
                statcache_done(c);
                return 0;
        }
        for (size_t at = sizeof header; (size = whole_size(c, at)) > 0; at += size)
                n++;
        c->n_slots = 1024;
        while (c->n_slots < 2 * n)
                c->n_slots *= 2;
        c->slots = calloc(c->n_slots, sizeof *c->slots);
        if (!c->slots)
                return -ENOMEM;
        for (size_t at = sizeof header; (size = whole_size(c, at)) > 0; at += size) {
                size_t slot = slot_of(c, entry_at(c, at)->dev, entry_at(c, at)->ino);

                while (c->slots[slot] != 0)
                        slot = (slot + 1) & (c->n_slots - 1);
                c->slots[slot] = (uint32_t) (at / 8);
        }
        return 0;
}

/* Takes the digest off the end, and tells whether it is right. */
static bool take_digest(struct statcache *c, const EVP_MD *md) {
        unsigned char digest[VOLT_DIGEST_SIZE];

        if (c->data.size < sizeof digest)
                return false;
        c->data.size -= sizeof digest;
        return EVP_Digest(c->data.data, c->data.size, digest, NULL, md, NULL) &&
                memcmp(c->data.data + c->data.size, digest, sizeof digest) == 0;
}

int statcache_load(struct statcache *c, int fd, const EVP_MD *md) {
        struct stat st;

        *c = (struct statcache) {};
        if (fd < 0)
                return 0;
        if (fstat(fd, &st) < 0)
                return -errno;
        c->data.allocated = (size_t) st.st_size;
        c->data.data = malloc(c->data.allocated + 1);
        if (!c->data.data)
                return -ENOMEM;
        while (c->data.size < c->data.allocated) {
                ssize_t n = RETRY_EINTR(pread(fd, c->data.data + c->data.size, c->data.allocated - c->data.size,
                                              (off_t) c->data.size));

                if (n <= 0)
                        break;
                c->data.size += (size_t) n;
        }
        if (!take_digest(c, md)) {
                statcache_done(c);
                return 0;
        }
        return statcache_index(c);
}

const struct statcache_entry *statcache_find(const struct statcache *c, uint64_t dev, uint64_t ino) {
        if (c->n_slots == 0)
                return NULL;
        for (size_t slot = slot_of(c, dev, ino); c->slots[slot] != 0; slot = (slot + 1) & (c->n_slots - 1)) {
                const struct statcache_entry *e = entry_at(c, (size_t) c->slots[slot] * 8);

                if (e->ino == ino && e->dev == dev)
                        return e;
        }
        return NULL;
}

bool statcache_matches(const struct statcache_entry *e, const struct stat *st) {
        return e->dev == st->st_dev && e->ino == st->st_ino && e->size == st->st_size &&
                e->mtime_sec == st->st_mtim.tv_sec && e->mtime_nsec == (uint32_t) st->st_mtim.tv_nsec &&
                e->ctime_sec == st->st_ctim.tv_sec && e->ctime_nsec == (uint32_t) st->st_ctim.tv_nsec;
}

/* A disk that is full costs the rest of the cache, no more. */
static void flush(struct statcache_writer *w) {
        if (!EVP_DigestUpdate(w->context, w->buffer.data, w->buffer.size) ||
            write_all(w->fd, w->buffer.data, w->buffer.size) < 0)
                w->fd = -1;
        w->buffer.size = 0;
}

int statcache_start(struct statcache_writer *w, int fd, const EVP_MD *md) {
        *w = (struct statcache_writer) { .fd = fd };
        if (fd < 0)
                return 0;
        w->context = EVP_MD_CTX_new();
        if (!w->context || !EVP_DigestInit_ex(w->context, md, NULL))
                return -ENOMEM;
        return buffer_append(&w->buffer, &header, sizeof header);
}

void statcache_writer_done(struct statcache_writer *w) {
        EVP_MD_CTX_free(w->context);
        buffer_done(&w->buffer);
}

int statcache_add(struct statcache_writer *w, const struct statcache_entry *e, const unsigned char *xattrs) {
        static const unsigned char padding[8];
        int r;

        if (w->fd < 0 || w->n == STATCACHE_MOST)
                return 0;
        w->n++;
        r = buffer_append(&w->buffer, e, sizeof *e);
        if (r >= 0)
                r = buffer_append(&w->buffer, xattrs, e->xattrs_size);
        if (r >= 0)
                r = buffer_append(&w->buffer, padding, -(size_t) e->xattrs_size & 7);
        if (r >= 0 && w->buffer.size >= FLUSH_SIZE)
                flush(w);
        return r;
}

void statcache_finish(struct statcache_writer *w) {
        unsigned char digest[VOLT_DIGEST_SIZE];

        if (w->fd >= 0)
                flush(w);
        if (w->fd >= 0 && EVP_DigestFinal_ex(w->context, digest, NULL))
                (void) write_all(w->fd, digest, sizeof digest);
}
