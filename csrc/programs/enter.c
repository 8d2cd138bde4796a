/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs one more command in a container:
 *
 *     enter --leader PID --started TICKS --status-fd N [--cgroup FD] [--env-fd N] [--caller-fd N]
 *           [--user UID:GID[:GID,...]] [--workdir DIR] [--tty ROWSxCOLUMNS | [--setsid-tty] --own-streams] -- CMD ARGS...
 *
 * PID is the container's first process as the host numbers it, TICKS its start time (field 22 of /proc/PID/stat), so that
 * a number that meanwhile stands for another process is refused. The command gets the namespaces of PID and its
 * confinement (confinement.h): nsenter would give it all that root has. --cgroup is the cgroup.procs of the cgroup to run
 * in, --env-fd holds the environment, NAME=VALUE each ended by a null byte, instead of our own. What is reported to
 * --status-fd is in command.h.
 *
 * --caller-fd leads to the caller (session.h). The standard streams are Volt's own, pipes or with --tty a socket: an
 * ordinary user in the container becomes the owner of the pipes. With --own-streams they are the command's and stay as they
 * are; --setsid-tty makes what stands at standard input its controlling terminal.
 *
 * Whoever is not root enters what he made: a user namespace of his own, in which he stays who he is.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../util.h"
#include "command.h"
#include "confinement.h"
#include "session.h"

enum { N_NAMESPACES = 7 };

struct options {
        pid_t leader;
        unsigned long long started;
        int report_fd, cgroup_fd, env_fd, caller_fd;
        bool tty, own_streams;
        unsigned short rows, columns;
        struct command command;
};

static struct options options = {
        .report_fd = -1, .cgroup_fd = -1, .env_fd = -1, .caller_fd = -1,
        .command.streams = { -1, -1, -1 },
};
static struct session session = NO_SESSION;
static struct confinement confinement;

static int usage(const char *problem) {
        fprintf(stderr, "enter: %s\n"
                "usage: enter --leader PID --started TICKS --status-fd N [--cgroup FD] [--env-fd N] [--caller-fd N]\n"
                "             [--user UID:GID[:GID,...]] [--workdir DIR] [--tty ROWSxCOLUMNS | [--setsid-tty] --own-streams]\n"
                "             -- CMD ARGS...\n",
                problem);
        return EXIT_INTERNAL;
}

static int give_up(const char *what, int error) {
        report(options.report_fd, "fail %d %d %s: %s\n", EXIT_INTERNAL, -error, what, strerror(-error));
        return EXIT_INTERNAL;
}

static int parse_options(char **args, struct options *o) {
        for (; *args && strcmp(*args, "--") != 0; args++) {
                if (!args[1])
                        return usage("missing value");
                if (strcmp(*args, "--setsid-tty") == 0)
                        o->command.terminal = true;
                else if (strcmp(*args, "--own-streams") == 0)
                        o->own_streams = true;
                else if (strcmp(*args, "--leader") == 0)
                        o->leader = atoi(*++args);
                else if (strcmp(*args, "--started") == 0)
                        o->started = strtoull(*++args, NULL, 10);
                else if (strcmp(*args, "--status-fd") == 0)
                        o->report_fd = parse_fd(*++args);
                else if (strcmp(*args, "--cgroup") == 0)
                        o->cgroup_fd = parse_fd(*++args);
                else if (strcmp(*args, "--env-fd") == 0)
                        o->env_fd = parse_fd(*++args);
                else if (strcmp(*args, "--caller-fd") == 0)
                        o->caller_fd = parse_fd(*++args);
                else if (strcmp(*args, "--workdir") == 0)
                        o->command.workdir = *++args;
                else if (strcmp(*args, "--user") == 0) {
                        if (parse_identity(*++args, &o->command.identity) < 0)
                                return usage("--user needs UID:GID[:GID,...]");
                } else if (strcmp(*args, "--tty") == 0) {
                        if (sscanf(*++args, "%hux%hu", &o->rows, &o->columns) != 2)
                                return usage("--tty needs ROWSxCOLUMNS");
                        o->tty = true;
                } else
                        return usage("unknown option");
        }
        if (o->leader <= 0 || o->report_fd < 0)
                return usage("--leader and --status-fd are needed");
        if (!args[0] || !args[1])
                return usage("no command after --");
        o->command.argv = args + 1;
        return 0;
}

/* -ESRCH unless the process is the one that began then, and lives. */
static int check_start(pid_t pid, unsigned long long started) {
        _cleanup_close_ int fd = -1;
        unsigned long long found;
        char text[1024], *at, state;
        ssize_t n;

        (void) snprintf(text, sizeof text, "/proc/%d/stat", (int) pid);
        fd = open(text, O_RDONLY|O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        n = RETRY_EINTR(read(fd, text, sizeof text - 1));
        if (n < 0)
                return -errno;
        text[n] = 0;
        /* The name in parentheses may hold anything. */
        at = strrchr(text, ')');
        if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                          &state, &found) != 2)
                return -EPROTO;
        return found == started && state != 'Z' && state != 'X' ? 0 : -ESRCH;
}

static int open_namespaces(pid_t pid, int *ret_fds) {
        /* The user namespace last: from within it, what belongs to the host's user namespace cannot be joined. */
        static const char *const names[N_NAMESPACES] = { "ipc", "uts", "net", "pid", "cgroup", "mnt", "user" };

        for (size_t i = 0; i < N_NAMESPACES; i++) {
                char path[64], own[64];
                struct stat theirs, ours;

                ret_fds[i] = -1;
                (void) snprintf(path, sizeof path, "/proc/%d/ns/%s", (int) pid, names[i]);
                (void) snprintf(own, sizeof own, "/proc/self/ns/%s", names[i]);
                if (stat(path, &theirs) < 0 || stat(own, &ours) < 0)
                        return -errno;
                /* One's own user namespace cannot be joined. */
                if (theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev)
                        continue;
                ret_fds[i] = open(path, O_RDONLY|O_CLOEXEC);
                if (ret_fds[i] < 0)
                        return -errno;
        }
        return 0;
}

static bool is_same(int fd, const char *path) {
        struct stat one, other;

        return fstat(fd, &one) == 0 && stat(path, &other) == 0 && one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

/* Only in the user namespace that the others belong to has an ordinary user the right to join them. The container may be
 * in one below it: bwrap makes a second one for a user other than root. */
static int join_owner(int mount_namespace_fd) {
        _cleanup_close_ int owner_fd = -1;

        if (mount_namespace_fd < 0)
                return 0;
        owner_fd = ioctl(mount_namespace_fd, NS_GET_USERNS);
        if (owner_fd < 0)
                return -errno;
        return !is_same(owner_fd, "/proc/self/ns/user") && setns(owner_fd, CLONE_NEWUSER) < 0 ? -errno : 0;
}

static int join(const int *fds, int root_fd) {
        bool is_root = geteuid() == 0;
        int user_fd = fds[N_NAMESPACES - 1], r;

        if (!is_root) {
                r = join_owner(fds[N_NAMESPACES - 2]);
                if (r < 0)
                        return r;
                if (user_fd >= 0 && is_same(user_fd, "/proc/self/ns/user"))
                        user_fd = -1;
        }
        for (size_t i = 0; i < N_NAMESPACES - 1; i++)
                if (fds[i] >= 0 && setns(fds[i], 0) < 0)
                        return -errno;
        if (fchdir(root_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
                return -errno;
        if (user_fd < 0)
                return 0;
        if (setns(user_fd, 0) < 0)
                return -errno;
        if (!is_root)
                return 0;
        /* Root of the host is nobody here: become root of the container. */
        return setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ? -errno : 0;
}

static int take_environment(int fd) {
        struct stat st;
        char *text;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (clearenv() != 0)
                return -ENOMEM;
        if (st.st_size == 0)
                return 0;
        text = mmap(NULL, (size_t) st.st_size, PROT_READ|PROT_WRITE, MAP_PRIVATE, fd, 0);
        if (text == MAP_FAILED)
                return -errno;
        if (text[st.st_size - 1] != 0)
                return -EPROTO;
        for (char *at = text; at < text + st.st_size; at += strlen(at) + 1)
                if (putenv(at) != 0)
                        return -ENOMEM;
        return 0;
}

static int give_streams(struct options *o) {
        if (o->tty)
                return give_terminal(&session, &o->command, o->rows, o->columns, -1);
        for (int fd = STDIN_FILENO; !o->own_streams && fd <= STDERR_FILENO; fd++)
                give_pipe_away(fd, &o->command.identity);
        return 0;
}

static int confine(void *data) {
        return take_confinement(data);
}

/* Takes hold of the container from outside. */
static int open_container(const struct options *o, int *ret_namespace_fds, int *ret_root_fd, const char **ret_what) {
        char path[64];
        int r;

        *ret_what = "cannot read the payload's confinement";
        r = read_confinement(o->leader, &confinement);
        if (r < 0)
                return r;
        *ret_what = "cannot open the container's namespaces";
        r = open_namespaces(o->leader, ret_namespace_fds);
        if (r < 0)
                return r;
        *ret_what = "cannot open the container's root";
        (void) snprintf(path, sizeof path, "/proc/%d/root", (int) o->leader);
        *ret_root_fd = open(path, O_PATH|O_DIRECTORY|O_CLOEXEC);
        if (*ret_root_fd < 0)
                return -errno;
        *ret_what = "cannot join the container's cgroup";
        return o->cgroup_fd >= 0 && write(o->cgroup_fd, "0", 1) < 0 ? -errno : 0;
}

static int prepare(struct options *o) {
        int namespace_fds[N_NAMESPACES], root_fd = -1, r;
        const char *what;

        r = open_container(o, namespace_fds, &root_fd, &what);
        /* Now, since until now the number may have come to stand for another process. */
        if (check_start(o->leader, o->started) == -ESRCH)
                return give_up("the container has ended", -ESRCH);
        if (r < 0)
                return give_up(what, r);
        r = join(namespace_fds, root_fd);
        if (r < 0)
                return give_up("cannot join the container's namespaces", r);
        if (o->env_fd >= 0) {
                r = take_environment(o->env_fd);
                if (r < 0)
                        return give_up("cannot set the environment", r);
        }
        r = give_streams(o);
        if (r < 0)
                return give_up("cannot open a terminal", r);
        r = catch_signals(&session, true);
        return r < 0 ? give_up("cannot take signals", r) : 0;
}

static int set_cloexec(int fd) {
        return fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int main(int argc, char **argv) {
        int code;

        (void) argc;
        code = parse_options(argv + 1, &options);
        if (code != 0)
                return code;
        if (set_cloexec(options.report_fd) < 0 || set_cloexec(options.cgroup_fd) < 0 || set_cloexec(options.env_fd) < 0 ||
            set_cloexec(options.caller_fd) < 0)
                return usage("a descriptor is not open");
        session.report_fd = options.report_fd;
        session.caller_fd = options.caller_fd;
        session.ends_with_caller = true;
        options.command.confine = confine;
        options.command.confine_data = &confinement;
        code = prepare(&options);
        if (code != 0)
                return code;
        code = command_start(&options.command, options.report_fd, &session.pid);
        if (code != 0)
                return code;
        if (options.tty)
                close_streams(&session, &options.command);
        return supervise(&session);
}
