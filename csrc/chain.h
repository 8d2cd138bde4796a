/* SPDX-License-Identifier: Apache-2.0
 *
 * Directories below a root, opened by path and kept open along the last path: neighbours in a walk share most of it.
 */
#ifndef VOLT_CHAIN_H
#define VOLT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>

#define CHAIN_LEVELS 32U

struct chain {
        int root_fd;                      /* borrowed */
        int fds[CHAIN_LEVELS];            /* of the first components of path */
        size_t ends[CHAIN_LEVELS];        /* where these components end in path */
        unsigned n_levels;
        int deep_fd;                      /* of the whole path where it has more levels; else -1 */
        char *path;
        size_t size, allocated;
};

void chain_init(struct chain *c, int root_fd);
void chain_done(struct chain *c);

#define _cleanup_chain_ __attribute__((cleanup(chain_done)))

/* Gives a descriptor (O_PATH) of the directory at a path of plain components, the empty one being the root. It stays
 * the chain's, until the next call. No link is followed, and the whole may be longer than PATH_MAX. */
int chain_open(struct chain *c, const char *path, size_t size);

/* Whether a path has plain components only: with neither ".." nor links to follow, none leads out of the root. */
bool path_is_clean(const char *path, size_t size);

#endif
