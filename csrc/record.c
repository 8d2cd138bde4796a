/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>

#include "msgpack.h"
#include "record.h"

#define NANOSECONDS 1000000000U
#define MAX_NAME 255U
#define MAX_TARGET 4095U
#define MAX_XATTR 65536U
#define NO_IDENTITY UINT32_MAX    /* "leave it" to chown(2) */

/* SHA-256 of nothing. */
static const unsigned char empty_digest[VOLT_DIGEST_SIZE] = {
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
        0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
};

#define N_KEPT (sizeof kept_xattrs / sizeof kept_xattrs[0])
static const char *const kept_xattrs[] = {
        "security.capability", "system.posix_acl_access", "system.posix_acl_default",
};

bool is_kept_xattr(const char *name) {
        for (size_t i = 0; i < N_KEPT; i++)
                if (strcmp(name, kept_xattrs[i]) == 0)
                        return true;
        return strncmp(name, "user.", 5) == 0 && strncmp(name, "user.overlay.", 13) != 0;
}

static int read_uint32(struct input *in, uint32_t most, uint32_t *ret) {
        uint64_t value;
        int r;

        r = mp_read_unsigned(in, most, &value);
        if (r < 0)
                return r;
        *ret = (uint32_t) value;
        return 0;
}

static int read_array_of(struct input *in, uint32_t n) {
        uint32_t found;
        int r;

        r = mp_read_array(in, &found);
        if (r < 0)
                return r;
        return found == n ? 0 : -EBADMSG;
}

static int read_digest(struct input *in, const unsigned char **ret) {
        size_t size;

        return mp_read_bytes(in, VOLT_DIGEST_SIZE, VOLT_DIGEST_SIZE, ret, &size);
}

/* As bytes compare in Python: the shorter of two that begin alike is less. */
static bool is_less(const unsigned char *a, size_t a_size, const unsigned char *b, size_t b_size) {
        int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

        return order < 0 || (order == 0 && a_size < b_size);
}

bool is_valid_name(const unsigned char *name, size_t size) {
        if (size > MAX_NAME || memchr(name, 0, size) || memchr(name, '/', size))
                return false;
        return !(name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')));
}

static int read_xattr(struct input *in, const unsigned char **ret_name, size_t *ret_name_size,
                      const unsigned char **ret_value, size_t *ret_value_size) {
        int r;

        r = read_array_of(in, 2);
        if (r < 0)
                return r;
        r = mp_read_bytes(in, 1, MAX_NAME, ret_name, ret_name_size);
        if (r < 0)
                return r;
        return mp_read_bytes(in, 0, MAX_XATTR, ret_value, ret_value_size);
}

int xattr_next(const unsigned char **at, const unsigned char *end, const unsigned char **ret_name,
               size_t *ret_name_size, const unsigned char **ret_value, size_t *ret_value_size) {
        struct input in = { .at = *at, .end = end };
        int r;

        if (in.at == in.end)
                return 0;
        r = read_xattr(&in, ret_name, ret_name_size, ret_value, ret_value_size);
        if (r < 0)
                return r;
        *at = in.at;
        return 1;
}

static int read_metadata(struct input *in, struct metadata *ret) {
        const unsigned char *previous = NULL;
        size_t previous_size = 0;
        struct metadata m = {};
        int r;

        r = read_array_of(in, 6);
        if (r >= 0)
                r = read_uint32(in, 07777, &m.mode);
        if (r >= 0)
                r = read_uint32(in, NO_IDENTITY - 1, &m.uid);
        if (r >= 0)
                r = read_uint32(in, NO_IDENTITY - 1, &m.gid);
        if (r >= 0)
                r = mp_read_signed(in, &m.seconds);
        if (r >= 0)
                r = read_uint32(in, NANOSECONDS - 1, &m.nanoseconds);
        if (r >= 0)
                r = mp_read_array(in, &m.n_xattrs);
        if (r < 0)
                return r;
        m.xattrs = in->at;
        for (uint32_t i = 0; i < m.n_xattrs; i++) {
                const unsigned char *name, *value;
                size_t name_size, value_size;
                char text[MAX_NAME + 1];

                r = read_xattr(in, &name, &name_size, &value, &value_size);
                if (r < 0)
                        return r;
                memcpy(text, name, name_size);
                text[name_size] = 0;
                if (memchr(name, 0, name_size) || !is_kept_xattr(text) ||
                    (previous && !is_less(previous, previous_size, name, name_size)))
                        return -EBADMSG;
                previous = name;
                previous_size = name_size;
        }
        m.xattrs_size = (size_t) (in->at - m.xattrs);
        *ret = m;
        return 0;
}

int metadata_decode(const unsigned char *data, size_t size, struct metadata *ret) {
        struct input in = { .at = data, .end = data + size };
        struct metadata metadata;
        int r;

        r = read_metadata(&in, &metadata);
        if (r < 0)
                return r;
        if (in.at != in.end)
                return -EBADMSG;
        *ret = metadata;
        return 0;
}

static int open_record(struct input *in, const char *tag, uint32_t n) {
        const unsigned char *found;
        size_t size;
        int r;

        r = read_array_of(in, n);
        if (r >= 0)
                r = mp_read_tag(in, &found, &size);
        if (r < 0)
                return r;
        return size == strlen(tag) && memcmp(found, tag, size) == 0 ? 0 : -EBADMSG;
}

int record_kind(const unsigned char *data, size_t size, enum record_kind *ret) {
        static const char *const tags[] = { "dir", "tree", "links" };
        static const uint32_t items[] = { 2, 4, 2 };

        for (unsigned i = 0; i < sizeof tags / sizeof tags[0]; i++) {
                struct input in = { .at = data, .end = data + size };

                if (open_record(&in, tags[i], items[i]) >= 0) {
                        *ret = (enum record_kind) i;
                        return 0;
                }
        }
        return -EBADMSG;
}

int directory_open(const unsigned char *data, size_t size, struct directory_reader *ret) {
        struct input in = { .at = data, .end = data + size };
        uint32_t n;
        int r;

        r = open_record(&in, "dir", 2);
        if (r >= 0)
                r = mp_read_array(&in, &n);
        if (r < 0)
                return r;
        *ret = (struct directory_reader) { .at = in.at, .end = in.end, .left = n };
        return 0;
}

/* What follows an entry's metadata; its tag decided on how many items there are. */
static int read_rest(struct input *in, struct entry *e) {
        int r = 0;

        switch (e->type) {
        case 'f':
                r = mp_read_unsigned(in, INT64_MAX, &e->size);
                if (r >= 0)
                        r = read_digest(in, &e->digest);
                if (r >= 0 && (e->size == 0) != (memcmp(e->digest, empty_digest, VOLT_DIGEST_SIZE) == 0))
                        r = -EBADMSG;
                break;
        case 'd':
                r = read_digest(in, &e->digest);
                break;
        case 'l':
                r = mp_read_bytes(in, 1, MAX_TARGET, &e->target, &e->target_size);
                if (r >= 0 && (e->metadata.mode != 0777 || e->metadata.n_xattrs > 0 ||
                               memchr(e->target, 0, e->target_size)))
                        r = -EBADMSG;
                break;
        case 'c':
        case 'b':
                r = read_uint32(in, UINT32_MAX, &e->major);
                if (r >= 0)
                        r = read_uint32(in, UINT32_MAX, &e->minor);
                /* A whiteout of overlayfs. */
                if (r >= 0 && e->type == 'c' && e->major == 0 && e->minor == 0)
                        r = -EBADMSG;
                break;
        default:
                break;
        }
        return r;
}

static uint32_t n_items(char type) {
        switch (type) {
        case 'f':
        case 'c':
        case 'b':
                return 5;
        case 'd':
        case 'l':
                return 4;
        case 'p':
                return 3;
        default:
                return 0;
        }
}

int directory_next(struct directory_reader *reader, struct entry *ret) {
        struct input in = { .at = reader->at, .end = reader->end };
        const unsigned char *tag;
        struct entry e = {};
        size_t tag_size;
        uint32_t n;
        int r;

        if (reader->left == 0)
                return in.at == in.end ? 0 : -EBADMSG;
        r = mp_read_array(&in, &n);
        if (r >= 0)
                r = mp_read_tag(&in, &tag, &tag_size);
        if (r < 0)
                return r;
        e.type = tag_size == 1 ? (char) tag[0] : 0;
        if (n == 0 || n != n_items(e.type))
                return -EBADMSG;
        r = mp_read_bytes(&in, 1, MAX_NAME, &e.name, &e.name_size);
        if (r >= 0)
                r = read_metadata(&in, &e.metadata);
        if (r >= 0)
                r = read_rest(&in, &e);
        if (r < 0)
                return r;
        if (!is_valid_name(e.name, e.name_size) ||
            (reader->name && !is_less(reader->name, reader->name_size, e.name, e.name_size)))
                return -EBADMSG;

        reader->at = in.at;
        reader->left--;
        reader->name = e.name;
        reader->name_size = e.name_size;
        *ret = e;
        return 1;
}

int directory_check(const unsigned char *data, size_t size) {
        struct directory_reader reader;
        struct entry entry;
        int r;

        r = directory_open(data, size, &reader);
        while (r >= 0 && (r = directory_next(&reader, &entry)) > 0)
                ;
        return r;
}

void entry_name(char ret[static 256], const struct entry *entry) {
        memcpy(ret, entry->name, entry->name_size);
        ret[entry->name_size] = 0;
}

int tree_decode(const unsigned char *data, size_t size, struct tree *ret) {
        struct input in = { .at = data, .end = data + size };
        struct tree tree = {};
        int r;

        r = open_record(&in, "tree", 4);
        if (r >= 0)
                r = read_metadata(&in, &tree.metadata);
        if (r >= 0)
                r = read_digest(&in, &tree.digest);
        if (r < 0)
                return r;
        if (in.at < in.end && *in.at == 0xc0)
                in.at++;
        else {
                r = read_digest(&in, &tree.links);
                if (r < 0)
                        return r;
        }
        if (in.at != in.end)
                return -EBADMSG;
        *ret = tree;
        return 0;
}

bool metadata_equal(const struct metadata *a, const struct metadata *b) {
        return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->seconds == b->seconds &&
                a->nanoseconds == b->nanoseconds && a->xattrs_size == b->xattrs_size &&
                (a->xattrs_size == 0 || memcmp(a->xattrs, b->xattrs, a->xattrs_size) == 0);
}
