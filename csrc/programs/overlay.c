/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"

/* sys/mount.h and linux/mount.h contradict each other in older headers. */
extern int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);

enum { MOUNT_REC = 16384, MOUNT_SLAVE = 1 << 19 };

int enter_private_namespace(void) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MOUNT_REC | MOUNT_SLAVE, NULL) < 0)
                return -errno;
        return 0;
}

static int write_map(pid_t pid, const char *name, const struct id_range *ids) {
        _cleanup_close_ int fd = -1;
        char path[64], line[64];
        int n;

        (void) snprintf(path, sizeof path, "/proc/%d/%s", (int) pid, name);
        fd = open(path, O_WRONLY|O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = snprintf(line, sizeof line, "0 %u %u\n", ids->base, ids->count);
        return write(fd, line, (size_t) n) == n ? 0 : -errno;
}

/* A user namespace that nobody lives in: what the kernel wants to know a mapping by. */
static int open_user_namespace(const struct id_range *ids, int *ret_fd) {
        char path[64];
        int r, fd = -1;
        pid_t pid;

        pid = (pid_t) syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
        if (pid < 0)
                return -errno;
        if (pid == 0)
                for (;;)
                        pause();
        r = write_map(pid, "uid_map", ids);
        if (r >= 0)
                r = write_map(pid, "gid_map", ids);
        if (r >= 0) {
                (void) snprintf(path, sizeof path, "/proc/%d/ns/user", (int) pid);
                fd = open(path, O_RDONLY|O_CLOEXEC);
                if (fd < 0)
                        r = -errno;
        }
        (void) kill(pid, SIGKILL);
        (void) RETRY_EINTR(waitpid(pid, NULL, 0));
        if (r >= 0)
                *ret_fd = fd;
        return r;
}

/* A copy of the mount at `path` in which all owners appear shifted into the range. Not attached anywhere. */
static int open_mapped(const char *path, const struct id_range *ids, int *ret_fd) {
        _cleanup_close_ int tree_fd = -1, user_fd = -1;
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
        int r;

        r = open_user_namespace(ids, &user_fd);
        if (r < 0)
                return r;
        tree_fd = (int) syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (tree_fd < 0)
                return -errno;
        attr.userns_fd = (uint64_t) user_fd;
        if (syscall(SYS_mount_setattr, tree_fd, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
                return -errno;
        *ret_fd = steal_fd(&tree_fd);
        return 0;
}

static int open_directory(int at_fd, const char *name, int *ret_fd) {
        int fd = openat(at_fd, name, O_PATH|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int mount_overlay(int folder_fd, const char *lower, const struct id_range *ids, int *ret_root_fd) {
        _cleanup_close_ int lower_fd = -1, upper_fd = -1, work_fd = -1, point_fd = -1;
        char options[160], target[32];
        int r;

        r = ids ? open_mapped(lower, ids, &lower_fd) : open_directory(AT_FDCWD, lower, &lower_fd);
        if (r >= 0)
                r = open_directory(folder_fd, "upper", &upper_fd);
        if (r >= 0)
                r = open_directory(folder_fd, "work", &work_fd);
        if (r >= 0)
                r = open_directory(folder_fd, "rootfs", &point_fd);
        if (r < 0)
                return r;
        /* By descriptor: no byte of a path has to be escaped, and none is too long. */
        (void) snprintf(options, sizeof options,
                        "lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d",
                        lower_fd, upper_fd, work_fd);
        (void) snprintf(target, sizeof target, "/proc/self/fd/%d", point_fd);
        if (mount("volt", target, "overlay", 0, options) < 0)
                return -errno;
        /* The descriptor of the mount point still leads below the mount. */
        return open_directory(folder_fd, "rootfs", ret_root_fd);
}

int check_mount_points(int root_fd) {
        static const char *const names[] = { "dev", "proc", "run", "sys" };
        struct stat st;

        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
                if (fstatat(root_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode)) {
                        fprintf(stderr, "rootfs: '/%s' of the container is no directory\n", names[i]);
                        return -ENOTDIR;
                }
        return 0;
}

static int open_inside(int root_fd, const char *path, int flags) {
        struct open_how how = { .flags = (uint64_t) flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
        int fd = (int) syscall(SYS_openat2, root_fd, path, &how, sizeof how);

        return fd < 0 ? -errno : fd;
}

static int make_one(int root_fd, const char *path, bool directory) {
        _cleanup_close_ int parent_fd = -1, fd = -1;
        const char *name = strrchr(path, '/') + 1;
        char parent[PATH_MAX];

        fd = open_inside(root_fd, path, O_PATH);
        if (fd >= 0 || fd != -ENOENT)
                return fd < 0 ? fd : 0;
        (void) snprintf(parent, sizeof parent, "%.*s", (int) (name - path), path);
        parent_fd = open_inside(root_fd, parent, O_PATH|O_DIRECTORY);
        if (parent_fd < 0)
                return parent_fd;
        if (directory)
                return mkdirat(parent_fd, name, 0755) < 0 ? -errno : 0;
        fd = openat(parent_fd, name, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0644);
        return fd < 0 ? -errno : 0;
}

int make_target(int root_fd, const char *path, bool directory) {
        char part[PATH_MAX];

        if (path[0] != '/' || strlen(path) >= sizeof part)
                return -EINVAL;
        for (const char *end = path; *end; ) {
                int r;

                end = strchrnul(end + 1, '/');
                (void) snprintf(part, sizeof part, "%.*s", (int) (end - path), path);
                r = make_one(root_fd, part, *end || directory);
                if (r < 0)
                        return r;
        }
        return 0;
}
