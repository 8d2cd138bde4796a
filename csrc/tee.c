/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "job.h"
#include "sparse.h"
#include "tee.h"
#include "util.h"

/* What was read, or passed over as a hole. */
static int advance(const struct tee *t, uint64_t size) {
        if (job_is_cancelled(t->job))
                return -ECANCELED;
        if (t->tells)
                job_advance(t->job, size, 0);
        return 0;
}

/* Hashes zeros that take no room. */
static int tee_hole(struct tee *t, uint64_t size) {
        size_t most = size < HASHER_BUFFER_SIZE ? size : HASHER_BUFFER_SIZE;

        memset(t->hasher->buffer, 0, most);
        for (; size > 0; size -= most) {
                int r;

                if (size < most)
                        most = size;
                if (!EVP_DigestUpdate(t->hasher->context, t->hasher->buffer, most))
                        return -ENOMEM;
                r = advance(t, most);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* *ret_at is where it really ended. */
static int tee_range(struct tee *t, off_t start, off_t end, off_t *ret_at) {
        unsigned char *buffer = t->hasher->buffer;

        while (start < end) {
                size_t want = end - start < HASHER_BUFFER_SIZE ? (size_t) (end - start) : HASHER_BUFFER_SIZE;
                ssize_t n = RETRY_EINTR(pread(t->from, buffer, want, start));
                int r = 0;

                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                if (!EVP_DigestUpdate(t->hasher->context, buffer, (size_t) n))
                        return -ENOMEM;
                if (t->to >= 0)
                        r = write_sparse(t->to, buffer, (size_t) n, start, &t->end);
                if (r >= 0)
                        r = advance(t, (uint64_t) n);
                if (r < 0)
                        return r;
                start += n;
        }
        *ret_at = start;
        return 0;
}

int tee_file(struct tee *t, const struct stat *st, unsigned char *ret_digest, uint64_t *ret_size) {
        off_t at = 0;
        int r;

        if (!EVP_DigestInit_ex(t->hasher->context, t->hasher->md, NULL))
                return -ENOMEM;
        while (at < st->st_size) {
                off_t start, end;

                r = next_data(t->from, st, at, &start, &end);
                if (r >= 0)
                        r = tee_hole(t, (uint64_t) (start - at));
                if (r >= 0)
                        r = tee_range(t, start, end, &at);
                if (r < 0)
                        return r;
                if (at < end)
                        break;
        }
        if (!EVP_DigestFinal_ex(t->hasher->context, ret_digest, NULL))
                return -ENOMEM;
        *ret_size = (uint64_t) at;
        return 0;
}
