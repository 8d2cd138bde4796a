/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_JOB_H
#define VOLT_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "volt_native.h"

/* What a running call tells, and what it is told; volt_native.cdef.h describes the struct. */

static inline void job_advance(struct volt_job *job, uint64_t bytes, uint64_t files) {
        __atomic_fetch_add(&job->bytes, bytes, __ATOMIC_RELAXED);
        __atomic_fetch_add(&job->files, files, __ATOMIC_RELAXED);
}

static inline bool job_is_cancelled(struct volt_job *job) {
        return __atomic_load_n(&job->cancelled, __ATOMIC_RELAXED) != 0;
}

#endif
