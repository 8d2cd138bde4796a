/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "msgpack.h"
#include "record.h"

/* An array of two, the tag, and an array header of at most 5 bytes. */
#define MAX_HEADER 10U

int xattr_encode(struct buffer *b, const char *name, const void *value, size_t size) {
        int r;

        r = mp_write_array(b, 2);
        if (r >= 0)
                r = mp_write_bytes(b, name, strlen(name));
        if (r >= 0)
                r = mp_write_bytes(b, value, size);
        return r;
}

int metadata_encode(struct buffer *b, const struct metadata *m) {
        int r;

        r = mp_write_array(b, 6);
        if (r >= 0)
                r = mp_write_unsigned(b, m->mode);
        if (r >= 0)
                r = mp_write_unsigned(b, m->uid);
        if (r >= 0)
                r = mp_write_unsigned(b, m->gid);
        if (r >= 0)
                r = mp_write_signed(b, m->seconds);
        if (r >= 0)
                r = mp_write_unsigned(b, m->nanoseconds);
        if (r >= 0)
                r = mp_write_array(b, m->n_xattrs);
        if (r >= 0)
                r = buffer_append(b, m->xattrs, m->xattrs_size);
        return r;
}

static int write_rest(struct buffer *b, const struct entry *e) {
        int r;

        switch (e->type) {
        case 'f':
                r = mp_write_unsigned(b, e->size);
                return r < 0 ? r : mp_write_bytes(b, e->digest, VOLT_DIGEST_SIZE);
        case 'd':
                return mp_write_bytes(b, e->digest, VOLT_DIGEST_SIZE);
        case 'l':
                return mp_write_bytes(b, e->target, e->target_size);
        case 'c':
        case 'b':
                r = mp_write_unsigned(b, e->major);
                return r < 0 ? r : mp_write_unsigned(b, e->minor);
        default:
                return 0;
        }
}

static uint32_t n_items(char type) {
        return type == 'p' ? 3 : type == 'd' || type == 'l' ? 4 : 5;
}

int directory_add(struct directory_writer *w, const struct entry *e) {
        struct buffer *b = &w->buffer;
        int r;

        if (b->size == 0 && !buffer_extend(b, MAX_HEADER))
                return -ENOMEM;
        r = mp_write_array(b, n_items(e->type));
        if (r >= 0)
                r = mp_write_tag(b, e->type);
        if (r >= 0)
                r = mp_write_bytes(b, e->name, e->name_size);
        if (r >= 0)
                r = metadata_encode(b, &e->metadata);
        if (r >= 0)
                r = write_rest(b, e);
        if (r < 0)
                return r;
        if (w->n_entries == UINT32_MAX)
                return -EOVERFLOW;
        w->n_entries++;
        return 0;
}

int directory_finish(struct directory_writer *w, const unsigned char **ret_data, size_t *ret_size) {
        static const unsigned char start[] = { 0x92, 0xa3, 'd', 'i', 'r' };
        _cleanup_buffer_ struct buffer header = {};
        unsigned char *at;
        int r;

        if (w->buffer.size == 0 && !buffer_extend(&w->buffer, MAX_HEADER))
                return -ENOMEM;
        r = buffer_append(&header, start, sizeof start);
        if (r >= 0)
                r = mp_write_array(&header, w->n_entries);
        if (r < 0)
                return r;
        at = w->buffer.data + MAX_HEADER - header.size;
        memcpy(at, header.data, header.size);
        *ret_data = at;
        *ret_size = w->buffer.size - (MAX_HEADER - header.size);
        return 0;
}

void directory_writer_done(struct directory_writer *w) {
        buffer_done(&w->buffer);
        w->n_entries = 0;
}
