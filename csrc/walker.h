/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree walk, entry by entry. One frame per level lies on the heap, so that neither the C stack nor PATH_MAX bounds
 * the depth; only the deepest OPEN_LEVELS frames keep their directory open, the ones above are opened again through "..".
 */
#ifndef VOLT_WALKER_H
#define VOLT_WALKER_H

#include <sys/stat.h>

#include "util.h"

struct walk_frame;

struct walker {
        struct walk_frame *frames;
        size_t n_frames, frames_allocated;
        char *dirents;
        const char *failed;  /* the name below the innermost frame that an error is about; NULL: that frame itself */
};

enum walk_event {
        WALK_END,
        WALK_ENTRY,          /* of the innermost directory, which stays the innermost one unless this one is entered */
        WALK_LEAVE,          /* all of the innermost directory was given */
};

struct walk_item {
        const char *name;    /* until the next call; "" for the root */
        struct stat st;
        size_t depth;        /* 0: the root */
        int dir_fd;          /* of the directory that it is in; the walker's */
};

void walker_done(struct walker *w);

#define _cleanup_walker_ __attribute__((cleanup(walker_done)))

/* Enters the root, which is the first item. */
int walker_start(struct walker *w, int root_fd, struct walk_item *ret_root);

/* Children come in byte order of their names. What vanished meanwhile is passed over. */
int walker_next(struct walker *w, enum walk_event *ret_event, struct walk_item *ret_item);

/* Makes the directory just given the innermost one; its descriptor is *ret_fd, which stays the walker's, and item->st
 * is then what fstat() says. -ENOENT if it has vanished: it is as if it had not been given. */
int walker_enter(struct walker *w, struct walk_item *item, int *ret_fd);

/* The path of what the last call failed for, relative to the root; NULL when memory ran out. */
char *walker_failed_path(const struct walker *w);

#endif
