/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a record to its end and writing it anew: what the fuzzer and the comparison with the Python code share.
 */
#ifndef VOLT_TEST_RECODE_H
#define VOLT_TEST_RECODE_H

#include <errno.h>

#include "record.h"

static inline int recode_directory(const unsigned char *data, size_t size, struct buffer *ret) {
        struct directory_writer writer __attribute__((cleanup(directory_writer_done))) = {};
        struct directory_reader reader;
        const unsigned char *again;
        size_t again_size;
        struct entry entry;
        int r;

        r = directory_open(data, size, &reader);
        if (r < 0)
                return r;
        while ((r = directory_next(&reader, &entry)) > 0) {
                r = directory_add(&writer, &entry);
                if (r < 0)
                        return r;
        }
        if (r >= 0)
                r = directory_finish(&writer, &again, &again_size);
        return r < 0 ? r : buffer_append(ret, again, again_size);
}

/* No C code writes top records: its metadata anew, then its digests as they are. */
static inline int recode_tree(const unsigned char *data, size_t size, struct buffer *ret) {
        struct tree tree;
        int r;

        r = tree_decode(data, size, &tree);
        if (r >= 0)
                r = metadata_encode(ret, &tree.metadata);
        if (r >= 0)
                r = buffer_append(ret, tree.digest, VOLT_DIGEST_SIZE);
        if (r >= 0 && tree.links)
                r = buffer_append(ret, tree.links, VOLT_DIGEST_SIZE);
        return r;
}

/* Appends to `ret` and returns the kind, or -EBADMSG for what is no record. Of a links record only the kind is read. */
static inline int recode(const unsigned char *data, size_t size, struct buffer *ret) {
        enum record_kind kind;
        int r;

        r = record_kind(data, size, &kind);
        if (r >= 0 && kind == RECORD_DIRECTORY)
                r = recode_directory(data, size, ret);
        else if (r >= 0 && kind == RECORD_TREE)
                r = recode_tree(data, size, ret);
        return r < 0 ? r : (int) kind;
}

#endif
