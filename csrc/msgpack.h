/* SPDX-License-Identifier: Apache-2.0
 *
 * As much of MessagePack as tree records use. Of the encodings that a value could have only the shortest one is written,
 * and only that one is read: anything else is -EBADMSG.
 */
#ifndef VOLT_MSGPACK_H
#define VOLT_MSGPACK_H

#include <stdint.h>

#include "util.h"

/* The position in what is being read. */
struct input {
        const unsigned char *at, *end;
};

int mp_read_unsigned(struct input *in, uint64_t most, uint64_t *ret);
int mp_read_signed(struct input *in, int64_t *ret);
int mp_read_array(struct input *in, uint32_t *ret_n);

/* A string of less than 32 bytes. */
int mp_read_tag(struct input *in, const unsigned char **ret, size_t *ret_size);

int mp_read_bytes(struct input *in, size_t least_size, size_t most_size, const unsigned char **ret, size_t *ret_size);

int mp_write_unsigned(struct buffer *b, uint64_t value);
int mp_write_signed(struct buffer *b, int64_t value);
int mp_write_array(struct buffer *b, uint32_t n);
int mp_write_bytes(struct buffer *b, const void *data, size_t size);

/* One character as a string. */
int mp_write_tag(struct buffer *b, char tag);

#endif
