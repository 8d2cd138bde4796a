/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process may do, as far as its children inherit it: read from one process, taken on by another. Landlock is not
 * among it: the kernel shows nobody the rules of another process.
 */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { MAX_FILTERS = 64 };

struct confinement {
        uint64_t bounding, inheritable;
        bool no_new_privileges;
        size_t n_filters;               /* of seccomp, oldest first */
        struct sock_fprog filters[MAX_FILTERS];
};

/* Reads that of a process, which has to stand still for a moment. What the filters point to is
 * memory of this module's own, so there is one confinement at a time. */
int read_confinement(pid_t pid, struct confinement *ret);

/* Takes it on, with the rights of root and before becoming another user. It takes full effect with the next exec, which
 * gives root what the bounding set leaves, and an ordinary user nothing. */
int take_confinement(const struct confinement *confinement);
