/* SPDX-License-Identifier: Apache-2.0
 *
 * What lies in a fanned-out folder of a store (objects/, variants/, trees/), as a table that is searched by digest. Files
 * with other names than docs/formats.md gives are passed over, and what is missing counts as empty.
 */
#ifndef VOLT_FANOUT_H
#define VOLT_FANOUT_H

#include <pthread.h>
#include <sys/stat.h>

#include "job.h"
#include "store.h"
#include "util.h"
#include "volt_native.h"

#define N_BUCKETS 256U

/* The files whose names begin with the same two digits. */
struct bucket {
        bool is_there;                    /* the directory, or what has its name */
        struct volt_stored *files;        /* sorted by digest, then by what is behind it */
        size_t n;
        struct buffer suffixes;           /* the texts behind the digests of variants, each ended by a NUL */
};

struct fanout {
        const char *folder;
        int fd;                           /* -1: the folder is missing */
        bool has_suffixes;
        struct bucket buckets[N_BUCKETS];
};

/* Opens a folder of the store, and looks which buckets there are. */
int fanout_open(struct fanout *f, int store_fd, const char *folder);
void fanout_done(struct fanout *f);

/* Lists one bucket: names, and which of them are irregular, no files; where the directory does not say that, what
 * fanout_stat() finds. `dirents` has DIRENTS_SIZE bytes. */
int fanout_list(struct fanout *f, unsigned number, char *dirents);

/* Finds out size and inode of a file in a bucket, and whether it is irregular; or that it is gone since it was listed: a
 * variant that was replaced, or what somebody removed by hand. */
int fanout_stat(const struct fanout *f, int dir_fd, struct volt_stored *file);

/* The same for all files of a bucket whose sizes are not known. */
int fanout_measure(struct fanout *f, unsigned number);

/* Takes out what is gone. */
void fanout_drop_gone(struct fanout *f);

/* NULL: there is none. Of several with one digest, the first. */
struct volt_stored *fanout_find(const struct fanout *f, const unsigned char *digest);

uint64_t fanout_count(const struct fanout *f);

/* A descriptor of the directory of a bucket. */
int fanout_open_bucket(const struct fanout *f, unsigned number);

/* The name inside that directory. */
#define STORED_NAME_SIZE 256U
void stored_name(const struct fanout *f, const struct volt_stored *file, char *ret);

/* The first failure of several threads, with the path below the store that it is about. */
struct failure {
        int error;                        /* 0 or negative errno */
        char path[STORE_PATH_SIZE + STORED_NAME_SIZE];
};

void failure_set(struct failure *f, int error, const char *folder, unsigned number, const char *name);
bool failure_is_set(const struct failure *f);

#endif
