/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_RECORD_H
#define VOLT_RECORD_H

#include "util.h"
#include "volt_native.h"

/* Tree records as docs/formats.md has them: canonical MessagePack, of which there is one encoding for one tree. What is
 * not canonical, or not a record that anybody could have made, is -EBADMSG. Everything read points into the data. */

#define MAX_DEPTH 4096U

struct metadata {
        uint32_t mode, uid, gid;
        int64_t seconds;
        uint32_t nanoseconds;
        uint32_t n_xattrs;
        const unsigned char *xattrs;      /* the pairs of name and value as they are encoded, sorted by name */
        size_t xattrs_size;
};

struct entry {
        char type;                        /* f d l c b p, as find -type has it */
        const unsigned char *name;
        size_t name_size;
        struct metadata metadata;
        uint64_t size;                    /* f */
        const unsigned char *digest;      /* f d */
        const unsigned char *target;      /* l */
        size_t target_size;
        uint32_t major, minor;            /* c b */
};

/* A directory record, entry by entry. */
struct directory_reader {
        const unsigned char *at, *end;
        uint32_t left;
        const unsigned char *name;        /* the previous one */
        size_t name_size;
};

int directory_open(const unsigned char *data, size_t size, struct directory_reader *ret);

/* 1 and an entry; 0 at the end, when nothing may follow. */
int directory_next(struct directory_reader *r, struct entry *ret);

/* Whether all of it is sound: before anything is done about what it names. */
int directory_check(const unsigned char *data, size_t size);

/* The name with a NUL. */
void entry_name(char ret[static 256], const struct entry *entry);

/* Whether it can be the name of an entry; of at least one byte. */
bool is_valid_name(const unsigned char *name, size_t size);

/* The top record of a tree. */
struct tree {
        struct metadata metadata;
        const unsigned char *digest;
        const unsigned char *links;       /* NULL: the tree has no hard links */
};

int tree_decode(const unsigned char *data, size_t size, struct tree *ret);

enum record_kind { RECORD_DIRECTORY, RECORD_TREE, RECORD_LINKS };

/* What a record says it is; the rest of it is not looked at. */
int record_kind(const unsigned char *data, size_t size, enum record_kind *ret);

/* Whether a record of hard links is sound in itself: 0 or -EBADMSG. */
int links_check(const unsigned char *data, size_t size);

/* The encoding of a directory record is made in place: the header, whose size depends on the number of entries, is put
 * in front of them when that is known. */
struct directory_writer {
        struct buffer buffer;
        uint32_t n_entries;
};

int directory_add(struct directory_writer *w, const struct entry *entry);

/* The finished record, which lies in the writer's buffer. */
int directory_finish(struct directory_writer *w, const unsigned char **ret_data, size_t *ret_size);

void directory_writer_done(struct directory_writer *w);

int metadata_decode(const unsigned char *data, size_t size, struct metadata *ret);

int metadata_encode(struct buffer *b, const struct metadata *metadata);

/* One pair of name and value, as in metadata.xattrs. */
int xattr_encode(struct buffer *b, const char *name, const void *value, size_t size);

/* The next pair of metadata.xattrs; *at moves behind it. */
int xattr_next(const unsigned char **at, const unsigned char *end, const unsigned char **ret_name,
               size_t *ret_name_size, const unsigned char **ret_value, size_t *ret_value_size);

bool metadata_equal(const struct metadata *a, const struct metadata *b);

/* Whether an extended attribute belongs into a record; the name ends with a NUL. */
bool is_kept_xattr(const char *name);

#endif
