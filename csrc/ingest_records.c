/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest.h"

int open_directory(struct ingest *in, const struct entry *e) {
        struct open_record *record;
        int r;

        r = grow(&in->open, &in->open_allocated, in->n_open + 1, sizeof *in->open, 64);
        if (r < 0)
                return r;
        record = &in->open[in->n_open];
        *record = (struct open_record) { .metadata = e->metadata, .name_size = e->name_size };
        record->data = malloc(e->metadata.xattrs_size + e->name_size + 1);
        if (!record->data)
                return -ENOMEM;
        if (e->metadata.xattrs_size > 0)
                memcpy(record->data, e->metadata.xattrs, e->metadata.xattrs_size);
        if (e->name_size > 0)
                memcpy(record->data + e->metadata.xattrs_size, e->name, e->name_size);
        record->metadata.xattrs = record->data;
        in->n_open++;
        return 0;
}

/* Has a record staged with the next window, unless this run did that before. */
static int queue_record(struct ingest *in, const unsigned char *data, size_t size, const unsigned char *digest) {
        struct pending_record *record;
        int r;

        r = digest_set_add(&in->known_records, digest);
        if (r <= 0)
                return r;
        /* Nobody could read it again: an owner that chown() has no number for, for example. */
        r = directory_check(data, size);
        if (r < 0)
                return r;
        r = grow(&in->records, &in->records_allocated, in->n_records + 1, sizeof *in->records, 256);
        if (r < 0)
                return r;
        record = &in->records[in->n_records];
        record->data = malloc(size);
        if (!record->data)
                return -ENOMEM;
        memcpy(record->data, data, size);
        record->size = size;
        memcpy(record->digest, digest, VOLT_DIGEST_SIZE);
        in->n_records++;
        return 0;
}

void open_record_done(struct open_record *record) {
        directory_writer_done(&record->writer);
        free(record->data);
}

/* The innermost directory is complete: its record is queued, and its parent gets an entry. */
int close_directory(struct ingest *in) {
        struct open_record *record = &in->open[in->n_open - 1], *parent = record - 1;
        unsigned char digest[VOLT_DIGEST_SIZE];
        const unsigned char *data;
        size_t size;
        int r;

        r = directory_finish(&record->writer, &data, &size);
        if (r >= 0)
                r = hasher_of(&in->readers[0].stager.hasher, data, size, digest);
        if (r >= 0)
                r = queue_record(in, data, size, digest);
        if (r < 0)
                return r;
        if (in->n_open > 1) {
                struct entry e = {
                        .type = 'd',
                        .name = record->data + record->metadata.xattrs_size,
                        .name_size = record->name_size,
                        .metadata = record->metadata,
                        .digest = digest,
                };

                r = directory_add(&parent->writer, &e);
        } else {
                _cleanup_buffer_ struct buffer metadata = {};

                r = metadata_encode(&metadata, &record->metadata);
                memcpy(in->result->digest, digest, VOLT_DIGEST_SIZE);
                in->result->metadata_size = metadata.size;
                in->result->metadata = STEAL_POINTER(metadata.data);
        }
        open_record_done(record);
        in->n_open--;
        return r;
}
