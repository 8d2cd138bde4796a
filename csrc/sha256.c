/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sha256.h"
#include "util.h"

void hasher_done(struct hasher *h) {
        EVP_MD_CTX_free(h->context);
        free(h->buffer);
}

int hasher_init(struct hasher *h, const EVP_MD *md) {
        h->md = md;
        h->context = EVP_MD_CTX_new();
        h->buffer = malloc(HASHER_BUFFER_SIZE);
        return md && h->context && h->buffer ? 0 : -ENOMEM;
}

int hasher_of(struct hasher *h, const void *data, size_t size, unsigned char *ret_digest) {
        if (!EVP_DigestInit_ex(h->context, h->md, NULL) || !EVP_DigestUpdate(h->context, data, size) ||
            !EVP_DigestFinal_ex(h->context, ret_digest, NULL))
                return -ENOMEM;
        return 0;
}

int hasher_run(struct hasher *h, int fd, unsigned char *ret_digest, uint64_t *ret_size) {
        unsigned char digest[VOLT_DIGEST_SIZE];
        uint64_t size = 0;

        if (!EVP_DigestInit_ex(h->context, h->md, NULL))
                return -ENOMEM;
        for (;;) {
                ssize_t n = RETRY_EINTR(read(fd, h->buffer, HASHER_BUFFER_SIZE));

                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                if (!EVP_DigestUpdate(h->context, h->buffer, (size_t) n))
                        return -ENOMEM;
                size += (uint64_t) n;
        }
        if (!EVP_DigestFinal_ex(h->context, digest, NULL))
                return -ENOMEM;
        memcpy(ret_digest, digest, sizeof digest);
        *ret_size = size;
        return 0;
}
