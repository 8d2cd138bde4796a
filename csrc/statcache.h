/* SPDX-License-Identifier: Apache-2.0
 *
 * What was read of a source last time. The file, in the byte order of the machine, is a header, entries in the order of a
 * walk, and the SHA-256 of all of that: it is not made durable, and what a crash has torn must not be believed. It is safe
 * to delete, and anything that is not such a file is as if it were not there.
 */
#ifndef VOLT_STATCACHE_H
#define VOLT_STATCACHE_H

#include <sys/stat.h>

#include "sha256.h"
#include "util.h"
#include "volt_native.h"

#define STATCACHE_MOST 2000000U

struct statcache_entry {
        uint64_t dev;
        uint64_t ino;
        int64_t size;
        int64_t mtime_sec;
        int64_t ctime_sec;
        uint32_t mtime_nsec;
        uint32_t ctime_nsec;
        unsigned char digest[VOLT_DIGEST_SIZE];
        uint32_t n_xattrs;
        uint32_t xattrs_size;             /* the attributes follow, as a record has them, padded to a multiple of 8 */
};

struct statcache {
        struct buffer data;
        uint32_t *slots;                  /* where in units of 8 bytes an entry is; 0: free */
        size_t n_slots;
};

void statcache_done(struct statcache *c);

/* An empty one where there is no such file. */
int statcache_load(struct statcache *c, int fd, const EVP_MD *md);

/* What is in memory, for statcache_load(), and for fuzzing: takes the buffer over. */
int statcache_index(struct statcache *c);

/* The entry of an inode, whether it is still true or not, or NULL. */
const struct statcache_entry *statcache_find(const struct statcache *c, uint64_t dev, uint64_t ino);

/* Whether nothing tells that the file has changed. */
bool statcache_matches(const struct statcache_entry *e, const struct stat *st);

/* Writes a new file, piece by piece. */
struct statcache_writer {
        int fd;                           /* borrowed; -1: writes nothing */
        struct buffer buffer;
        EVP_MD_CTX *context;
        uint32_t n;
};

int statcache_start(struct statcache_writer *w, int fd, const EVP_MD *md);
int statcache_add(struct statcache_writer *w, const struct statcache_entry *e, const unsigned char *xattrs);
void statcache_finish(struct statcache_writer *w);
void statcache_writer_done(struct statcache_writer *w);

#endif
