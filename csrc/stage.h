/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing objects and records into a staging directory: hash, decide, write. What is staged is N/objects/DIGEST and
 * N/trees/DIGEST, with a directory N for each thread, so that no two wait for the lock of one; where the store has a damaged
 * file of that name, it is N/objects.replace/DIGEST. Where the store has no folder ab yet, it is new/objects/ab/REST: then
 * the folder is moved whole, which spares a new store one rename per file.
 */
#ifndef VOLT_STAGE_H
#define VOLT_STAGE_H

#include <pthread.h>
#include <sys/stat.h>

#include "digest_set.h"
#include "fanout.h"
#include "metadata.h"
#include "sha256.h"
#include "util.h"

/* What all threads of a run share. */
struct stage {
        int store_fd, staging_fd;
        const struct volt_owner *owner;
        struct volt_job *job;             /* NULL: nobody looks on */
        struct fanout objects, trees;     /* which folders the store had at the beginning */
        pthread_mutex_t lock;             /* for what follows */
        struct digest_set known;          /* objects that were staged */
        uint64_t new_objects, new_bytes;
};

int stage_init(struct stage *s, int store_fd, int staging_fd, const struct volt_owner *owner, struct volt_job *job);
void stage_done(struct stage *s);

/* One thread's part. */
struct stager {
        struct stage *stage;
        unsigned number;                  /* from 1: 0 is the Python code's */
        int dir_fd;                       /* its staging directory; -1 until something is written */
        struct hasher hasher;
        struct xattr_reader xattrs;
        struct left_out left_out;
        struct buffer scratch, record;
};

int stager_init(struct stager *s, struct stage *stage, unsigned number, const EVP_MD *md);
void stager_done(struct stager *s);

enum presence { PRESENCE_MISSING, PRESENCE_THERE, PRESENCE_DAMAGED };

/* Whether the store has an object; one of another size is damaged. */
int find_object(const struct stage *s, const unsigned char *digest, uint64_t size, enum presence *ret);

/* Stages what is in memory unless it is stored or staged. */
int stage_data(struct stager *s, const unsigned char *data, size_t size, const struct metadata *metadata,
               unsigned char *ret_digest);

/* The same for the whole of an open file; *ret_size is how much was read of it. With `tells` the job hears of it. */
int stage_file(struct stager *s, int fd, const struct stat *st, const struct metadata *metadata, bool tells,
               unsigned char *ret_digest, uint64_t *ret_size);

/* Stages what the caller knows to be new, or with `replace` to be damaged; without metadata it is a record. */
int stage_new(struct stager *s, const unsigned char *digest, bool replace, const unsigned char *data, size_t size,
              const struct metadata *metadata);

/* Stages a record unless the store has just that. */
int stage_record(struct stager *s, const unsigned char *data, size_t size, const unsigned char *digest);

#endif
