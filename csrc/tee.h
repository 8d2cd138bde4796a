/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a large file once, for its digest and for a copy of it; holes are neither read nor written.
 */
#ifndef VOLT_TEE_H
#define VOLT_TEE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "sha256.h"
#include "volt_native.h"

struct tee {
        struct hasher *hasher;
        struct volt_job *job;    /* may cancel it */
        bool tells;              /* the job is told what was read */
        int from;
        int to;                  /* -1: nothing is written */
        off_t end;               /* where what was written ends; the file may have to be longer */
};

/* From the beginning of the file; st is what fstat() says. */
int tee_file(struct tee *t, const struct stat *st, unsigned char *ret_digest, uint64_t *ret_size);

#endif
