/* SPDX-License-Identifier: Apache-2.0
 *
 * The root file system of a container: an overlay in a mount namespace of our own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* User ids 0 to count - 1 of the container are base to base + count - 1 on the host. */
struct id_range {
        uint32_t base, count;
};

/* Leaves the host's mount namespace: what is mounted from now on is seen here alone, and ends with us. */
int enter_private_namespace(void);

/* Mounts `lower` and the directories `upper` and `work` of `folder_fd` as an overlay on its `rootfs`, and gives that. With
 * `ids`, which may be NULL, the lower layer appears to be owned by those; `upper` must belong to ids->base then. */
int mount_overlay(int folder_fd, const char *lower, const struct id_range *ids, int *ret_root_fd);

/* Refuses a root in which systemd-nspawn would leave the container: it mounts on /dev, /proc, /run and /sys, and makes nodes
 * and directories below them, without regard to where a symlink leads. Says on standard error what is wrong. */
int check_mount_points(int root_fd);

/* Makes what is missing of `path` in the container, directories or at its end a file. No symlink leads out of it. */
int make_target(int root_fd, const char *path, bool directory);
