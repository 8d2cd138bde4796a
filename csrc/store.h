/* SPDX-License-Identifier: Apache-2.0
 *
 * Where things are in a store, as docs/formats.md has it.
 */
#ifndef VOLT_STORE_H
#define VOLT_STORE_H

#include "util.h"
#include "volt_native.h"

/* "variants/ab/" and 62 digits, "." and 64, a number, and the NUL. */
#define STORE_PATH_SIZE 192U

/* "FOLDER/ab/cdef…", the path of a digest below the store. */
void store_path(char *ret, const char *folder, const unsigned char *digest);

/* The 64 digits of a digest and a NUL. */
void digest_to_hex(char *ret, const unsigned char *digest);

/* Reads 2 n_bytes lower-case digits; false if there is anything else. */
bool hex_to_bytes(unsigned char *ret, const char *text, size_t n_bytes);

/* The whole of a small file, in place of what the buffer had. */
int read_whole(int dir_fd, const char *path, struct buffer *ret);

/* The same for the file of a record; what is in it is not looked at. */
int read_record(int store_fd, const unsigned char *digest, struct buffer *ret);

int write_all(int fd, const unsigned char *data, size_t size);

#endif
