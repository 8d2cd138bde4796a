/* SPDX-License-Identifier: Apache-2.0
 *
 * A store of a few files, made by hand.
 */
#ifndef VOLT_SMALL_STORE_H
#define VOLT_SMALL_STORE_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msgpack.h"
#include "record.h"
#include "sha256.h"
#include "store.h"
#include "tap.h"
#include "util.h"

struct small_store {
        char path[64];
        int fd;
        sha256_t md;
        struct hasher hasher;
};

/* An entry of a directory, as the tests name it. */
struct child {
        const char *name;
        char type;                        /* f d l */
        uint64_t size;
        const unsigned char *digest;
};

static inline void store_open(struct small_store *s) {
        (void) strcpy(s->path, "/tmp/volt-test-store-XXXXXX");
        must(mkdtemp(s->path));
        s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(s->fd >= 0);
        s->md = sha256_new();
        must(hasher_init(&s->hasher, s->md) == 0);
        must(mkdirat(s->fd, "objects", 0700) == 0 && mkdirat(s->fd, "variants", 0700) == 0 &&
             mkdirat(s->fd, "trees", 0700) == 0 && mkdirat(s->fd, "links", 0700) == 0);
}

static inline void store_close(struct small_store *s) {
        char command[sizeof s->path + 16];

        (void) snprintf(command, sizeof command, "rm -rf %s", s->path);
        must(system(command) == 0);
        close_fd(s->fd);
        hasher_done(&s->hasher);
        cleanup_sha256(&s->md);
}

/* Writes a file, and the folders that it lies in. */
static inline void store_write(struct small_store *s, const char *path, const void *data, size_t size) {
        _cleanup_free_ char *folder = strdup(path);
        _cleanup_close_ int fd = -1;

        must(folder);
        for (char *slash = strchr(folder, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = 0;
                must(mkdirat(s->fd, folder, 0700) == 0 || errno == EEXIST);
                *slash = '/';
        }
        fd = openat(s->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        must(fd >= 0 && write_all(fd, data, size) == 0);
}

static inline void put(struct small_store *s, const char *folder, const void *data, size_t size,
                       unsigned char *ret_digest) {
        char path[STORE_PATH_SIZE];

        must(hasher_of(&s->hasher, data, size, ret_digest) == 0);
        store_path(path, folder, ret_digest);
        store_write(s, path, data, size);
}

static inline void put_object(struct small_store *s, const char *text, unsigned char *ret_digest) {
        put(s, "objects", text, strlen(text), ret_digest);
}

static inline void put_directory(struct small_store *s, const struct child *children, size_t n,
                                 unsigned char *ret_digest) {
        struct directory_writer w = {};
        const unsigned char *data;
        size_t size;

        for (size_t i = 0; i < n; i++) {
                struct entry entry = {
                        .type = children[i].type,
                        .name = (const unsigned char *) children[i].name,
                        .name_size = strlen(children[i].name),
                        .metadata = { .mode = children[i].type == 'l' ? 0777 : 0644 },
                        .size = children[i].size,
                        .digest = children[i].digest,
                        .target = (const unsigned char *) "target",
                        .target_size = 6,
                };

                must(directory_add(&w, &entry) == 0);
        }
        must(directory_finish(&w, &data, &size) == 0);
        put(s, "trees", data, size, ret_digest);
        directory_writer_done(&w);
}

static inline void put_tree(struct small_store *s, const unsigned char *directory, const unsigned char *links,
                            unsigned char *ret_digest) {
        static const unsigned char start[] = { 0x94, 0xa4, 't', 'r', 'e', 'e' };
        const struct metadata metadata = { .mode = 0755 };
        _cleanup_buffer_ struct buffer b = {};

        must(buffer_append(&b, start, sizeof start) == 0 && metadata_encode(&b, &metadata) == 0 &&
             mp_write_bytes(&b, directory, VOLT_DIGEST_SIZE) == 0);
        if (links)
                must(mp_write_bytes(&b, links, VOLT_DIGEST_SIZE) == 0);
        else
                must(buffer_append(&b, "\xc0", 1) == 0);
        put(s, "trees", b.data, b.size, ret_digest);
}

/* The path of what lies there, for changing it. */
static inline const char *path_in(const char *folder, const unsigned char *digest) {
        static char path[STORE_PATH_SIZE];

        store_path(path, folder, digest);
        return path;
}

static inline bool is_there(const struct small_store *s, const char *folder, const unsigned char *digest) {
        return faccessat(s->fd, path_in(folder, digest), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

#endif
