/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 by OpenSSL. The algorithm is looked up once per run: by name for every file, the look-up costs more than
 * hashing a small file does.
 */
#ifndef VOLT_SHA256_H
#define VOLT_SHA256_H

#include <openssl/evp.h>
#include <stddef.h>

#include "volt_native.h"

/* EVP_sha256() would be looked up again in every EVP_DigestInit_ex() of OpenSSL 3. */
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
static inline EVP_MD *sha256_new(void) {
        return EVP_MD_fetch(NULL, "SHA256", NULL);
}

static inline void cleanup_sha256(EVP_MD **md) {
        EVP_MD_free(*md);
}
#else
static inline const EVP_MD *sha256_new(void) {
        return EVP_sha256();
}

static inline void cleanup_sha256(const EVP_MD **md) {
        (void) md;
}
#endif

typedef __typeof__(sha256_new()) sha256_t;

#define _cleanup_sha256_ __attribute__((cleanup(cleanup_sha256)))

#define HASHER_BUFFER_SIZE (1024U * 1024U)

/* What one thread needs to hash one thing after the other. The buffer is free for use between two calls. */
struct hasher {
        const EVP_MD *md;
        EVP_MD_CTX *context;
        unsigned char *buffer;    /* HASHER_BUFFER_SIZE bytes */
};

int hasher_init(struct hasher *h, const EVP_MD *md);
void hasher_done(struct hasher *h);

#define _cleanup_hasher_ __attribute__((cleanup(hasher_done)))

/* Of what is in memory. */
int hasher_of(struct hasher *h, const void *data, size_t size, unsigned char *ret_digest);

/* From the current offset to the end of the file. */
int hasher_run(struct hasher *h, int fd, unsigned char *ret_digest, uint64_t *ret_size);

#endif
