/* SPDX-License-Identifier: Apache-2.0
 *
 * Storing a tree, window by window: one thread walks a few thousand entries ahead (window.c), all threads read and stage
 * the files among them (ingest_read.c), and then one thread makes directory records of them, in the order of the walk
 * (ingest.c, ingest_records.c). What was unchanged since the last time costs its stat(), and memory does not grow with the tree.
 */
#ifndef VOLT_INGEST_H
#define VOLT_INGEST_H

#include "glob.h"
#include "job.h"
#include "record.h"
#include "stage.h"
#include "statcache.h"
#include "walker.h"

/* Items of one window. */
#define WINDOW 4096U

/* One event of the walk. */
struct item {
        enum walk_event event;
        char type;                        /* as struct entry has it */
        struct stat st;                   /* of the inode that was read in the end */
        size_t name, name_size;           /* in the window's names */
        size_t target, target_size;       /* there too */
        uint32_t folder;                  /* of the window */
        uint32_t n_xattrs;
        unsigned xattrs_thread;           /* whose buffer has the attributes */
        size_t xattrs, xattrs_size;
        unsigned left_out;                /* a bit for each enum xattr_verdict */
        bool is_alias;                    /* another name of an inode that was read before this window */
        bool is_cached;                   /* its digest is what the cache has */
        bool is_new;                      /* to be kept in the new cache */
        bool is_told;                     /* the job knows of its bytes */
        int error;                        /* negative errno */
        int reason;
        unsigned char digest[VOLT_DIGEST_SIZE];
};

/* A directory that entries of the window are in. */
struct folder {
        size_t path, path_size;           /* in the window's names */
        dev_t dev;
        ino_t ino;
};

/* A directory whose record is being made. */
struct open_record {
        struct directory_writer writer;
        struct metadata metadata;
        unsigned char *data;              /* its attributes, then its name */
        size_t name_size;
};

/* A record that waits for being staged. */
struct pending_record {
        unsigned char *data;
        size_t size;
        unsigned char digest[VOLT_DIGEST_SIZE];
};

struct window {
        struct item items[WINDOW];
        size_t n_items;
        struct buffer names;
        struct folder *folders;
        size_t n_folders, folders_allocated;
        uint32_t files[WINDOW];           /* the items that are files to be read */
        size_t n_files;
};

/* What one thread reads; its stager writes. */
struct reader {
        struct stager stager;
        struct buffer xattrs;             /* of items of this window */
        int error;                        /* of setting up, or of staging a record */
};

/* An inode with several names. */
struct inode {
        struct inode *next;               /* in its slot */
        struct item item;
        unsigned char *data;              /* its attributes, then its target */
};

struct ingest {
        const struct volt_ingest *request;
        struct volt_job *job;
        struct volt_ingested *result;
        dev_t root_dev, store_dev;
        ino_t store_ino;

        struct walker walker;
        struct buffer path;               /* of the walker's innermost directory, each component ended by "/" */
        struct folder *levels;            /* from the root to there; path_size is how much of path it has */
        size_t n_levels, levels_allocated;
        bool at_end;

        struct window window;
        struct statcache cache;
        struct statcache_writer new_cache;
        struct stage stage;
        sha256_t md;
        struct reader *readers;
        unsigned n_threads;

        struct open_record *open;         /* from the root to the directory whose entries are being added */
        size_t n_open, open_allocated;

        struct pending_record *records;
        size_t n_records, records_allocated;
        struct digest_set known_records;

        struct inode **inodes;            /* N_INODE_SLOTS lists */

        size_t next_file, next_record;    /* what the threads take from, atomically */
};

#define N_INODE_SLOTS 4096U

/* Begins with the root alone. */
int window_start(struct ingest *in);

/* Fills the window with what comes next. */
int window_fill(struct ingest *in);

/* Reads the window's files and stages the waiting records, on all threads. */
int window_read(struct ingest *in);

/* Begins the record of a directory whose entry will be this, for those of its entries that come next. */
int open_directory(struct ingest *in, const struct entry *e);

/* The innermost directory is complete: its record waits to be staged, and its parent gets an entry. */
int close_directory(struct ingest *in);

void open_record_done(struct open_record *record);

struct inode *find_inode(const struct ingest *in, const struct stat *st);

/* Counts something that is left out. */
int ingest_note(struct ingest *in, enum volt_note what, const char *path, size_t path_size);

#endif
