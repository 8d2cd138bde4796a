/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>

#include "msgpack.h"

/* Reads a big-endian number of `size` bytes. */
static int read_number(struct input *in, size_t size, uint64_t *ret) {
        uint64_t value = 0;

        if ((size_t) (in->end - in->at) < size)
                return -EBADMSG;
        for (size_t i = 0; i < size; i++)
                value = value << 8 | *in->at++;
        *ret = value;
        return 0;
}

int mp_read_unsigned(struct input *in, uint64_t most, uint64_t *ret) {
        /* What each size is the shortest for begins here. */
        static const uint64_t least[] = { 0x80, 0x100, 0x10000, 0x100000000 };
        uint64_t value;
        unsigned char first;
        int r;

        if (in->at == in->end)
                return -EBADMSG;
        first = *in->at++;
        if (first < 0x80)
                value = first;
        else if (first >= 0xcc && first <= 0xcf) {
                r = read_number(in, (size_t) 1 << (first - 0xcc), &value);
                if (r < 0)
                        return r;
                if (value < least[first - 0xcc])
                        return -EBADMSG;
        } else
                return -EBADMSG;
        if (value > most)
                return -EBADMSG;
        *ret = value;
        return 0;
}

int mp_read_signed(struct input *in, int64_t *ret) {
        static const int64_t most[] = { -33, INT8_MIN - 1, INT16_MIN - 1, INT32_MIN - (int64_t) 1 };
        uint64_t bits;
        int64_t value;
        unsigned char first;
        unsigned shift;
        int r;

        if (in->at == in->end)
                return -EBADMSG;
        first = *in->at;
        if (first >= 0xe0) {
                in->at++;
                *ret = (int8_t) first;
                return 0;
        }
        if (first < 0xd0 || first > 0xd3) {
                r = mp_read_unsigned(in, INT64_MAX, &bits);
                if (r < 0)
                        return r;
                *ret = (int64_t) bits;
                return 0;
        }
        in->at++;
        r = read_number(in, (size_t) 1 << (first - 0xd0), &bits);
        if (r < 0)
                return r;
        shift = 64 - (8U << (first - 0xd0));
        value = (int64_t) (bits << shift) >> shift;
        if (value > most[first - 0xd0])
                return -EBADMSG;
        *ret = value;
        return 0;
}

int mp_read_array(struct input *in, uint32_t *ret) {
        uint64_t value;
        unsigned char first;
        int r;

        if (in->at == in->end)
                return -EBADMSG;
        first = *in->at++;
        if (first >= 0x90 && first <= 0x9f) {
                *ret = first & 0x0fU;
                return 0;
        }
        if (first != 0xdc && first != 0xdd)
                return -EBADMSG;
        r = read_number(in, first == 0xdc ? 2 : 4, &value);
        if (r < 0)
                return r;
        if (value < (first == 0xdc ? 0x10U : 0x10000U))
                return -EBADMSG;
        *ret = (uint32_t) value;
        return 0;
}

int mp_read_tag(struct input *in, const unsigned char **ret, size_t *ret_size) {
        size_t size;

        if (in->at == in->end || (*in->at & 0xe0) != 0xa0)
                return -EBADMSG;
        size = *in->at & 0x1f;
        in->at++;
        if ((size_t) (in->end - in->at) < size)
                return -EBADMSG;
        *ret = in->at;
        *ret_size = size;
        in->at += size;
        return 0;
}

int mp_read_bytes(struct input *in, size_t least_size, size_t most_size,
                      const unsigned char **ret, size_t *ret_size) {
        static const uint64_t least[] = { 0, 0x100, 0x10000 };
        uint64_t size;
        unsigned char first;
        int r;

        if (in->at == in->end)
                return -EBADMSG;
        first = *in->at++;
        if (first < 0xc4 || first > 0xc6)
                return -EBADMSG;
        r = read_number(in, (size_t) 1 << (first - 0xc4), &size);
        if (r < 0)
                return r;
        if (size < least[first - 0xc4] || size < least_size || size > most_size || (size_t) (in->end - in->at) < size)
                return -EBADMSG;
        *ret = in->at;
        *ret_size = size;
        in->at += size;
        return 0;
}

static int write_number(struct buffer *b, unsigned char first, uint64_t value, size_t size) {
        unsigned char *at = buffer_extend(b, 1 + size);

        if (!at)
                return -ENOMEM;
        *at++ = first;
        for (size_t i = size; i-- > 0;)
                *at++ = (unsigned char) (value >> (8 * i));
        return 0;
}

int mp_write_unsigned(struct buffer *b, uint64_t value) {
        if (value < 0x80)
                return write_number(b, (unsigned char) value, 0, 0);
        if (value <= UINT8_MAX)
                return write_number(b, 0xcc, value, 1);
        if (value <= UINT16_MAX)
                return write_number(b, 0xcd, value, 2);
        if (value <= UINT32_MAX)
                return write_number(b, 0xce, value, 4);
        return write_number(b, 0xcf, value, 8);
}

int mp_write_signed(struct buffer *b, int64_t value) {
        if (value >= 0)
                return mp_write_unsigned(b, (uint64_t) value);
        if (value >= -32)
                return write_number(b, (unsigned char) value, 0, 0);
        if (value >= INT8_MIN)
                return write_number(b, 0xd0, (uint64_t) value, 1);
        if (value >= INT16_MIN)
                return write_number(b, 0xd1, (uint64_t) value, 2);
        if (value >= INT32_MIN)
                return write_number(b, 0xd2, (uint64_t) value, 4);
        return write_number(b, 0xd3, (uint64_t) value, 8);
}

int mp_write_array(struct buffer *b, uint32_t n) {
        if (n < 0x10)
                return write_number(b, (unsigned char) (0x90 | n), 0, 0);
        if (n <= UINT16_MAX)
                return write_number(b, 0xdc, n, 2);
        return write_number(b, 0xdd, n, 4);
}

int mp_write_bytes(struct buffer *b, const void *data, size_t size) {
        int r;

        if (size <= UINT8_MAX)
                r = write_number(b, 0xc4, size, 1);
        else if (size <= UINT16_MAX)
                r = write_number(b, 0xc5, size, 2);
        else
                r = write_number(b, 0xc6, size, 4);
        return r < 0 ? r : buffer_append(b, data, size);
}

int mp_write_tag(struct buffer *b, char tag) {
        return write_number(b, 0xa1, (unsigned char) tag, 1);
}
