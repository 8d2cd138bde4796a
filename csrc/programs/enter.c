/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs one more command in a container that systemd-nspawn runs:
 *
 *     enter --leader PID --started TICKS --status-fd N --cgroup FD [--env-fd N] [--user UID:GID[:GID,...]]
 *           [--workdir DIR] [--tty ROWSxCOLUMNS] -- CMD ARGS...
 *
 * PID is the container's first process as the host numbers it, TICKS its start time (field 22 of /proc/PID/stat), so that
 * a number that meanwhile stands for another process is refused. FD is the cgroup.procs of the cgroup to run in. The
 * command gets the namespaces of PID, and its capabilities, no-new-privileges bit and seccomp filters, read from the
 * running process: nsenter would give it all that root has. The environment is what descriptor --env-fd holds, NAME=VALUE each ended by a null byte. What is reported to N is in command.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"
#include "command.h"
#include "session.h"

enum { MAX_FILTERS = 64, MAX_INSTRUCTIONS = 65536, MAX_NAMESPACES = 7, LAST_CAPABILITY = 63 };

/* What a process may do, as far as its children inherit it. */
struct confinement {
        uint64_t bounding, inheritable;
        bool no_new_privileges;
        int filtered;                   /* Seccomp: of its status; 2 stands for filters */
        size_t n_filters;               /* oldest first */
        struct sock_fprog filters[MAX_FILTERS];
};

struct options {
        pid_t leader;
        unsigned long long started;
        int report_fd, cgroup_fd, env_fd;
        bool tty;
        unsigned short rows, columns;
        struct command command;
};

static struct options options = {
        .report_fd = -1, .cgroup_fd = -1, .env_fd = -1,
        .command.streams = { -1, -1, -1 },
};
static struct session session = { .signal_fd = -1, .master = -1 };
static struct confinement confinement;
static struct sock_filter instructions[MAX_INSTRUCTIONS];

static int usage(const char *problem) {
        fprintf(stderr, "enter: %s\n"
                "usage: enter --leader PID --started TICKS --status-fd N --cgroup FD [--env-fd N]\n"
                "             [--user UID:GID[:GID,...]] [--workdir DIR] [--tty ROWSxCOLUMNS] -- CMD ARGS...\n", problem);
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
                if (strcmp(*args, "--leader") == 0)
                        o->leader = atoi(*++args);
                else if (strcmp(*args, "--started") == 0)
                        o->started = strtoull(*++args, NULL, 10);
                else if (strcmp(*args, "--status-fd") == 0)
                        o->report_fd = parse_fd(*++args);
                else if (strcmp(*args, "--cgroup") == 0)
                        o->cgroup_fd = parse_fd(*++args);
                else if (strcmp(*args, "--env-fd") == 0)
                        o->env_fd = parse_fd(*++args);
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
        if (o->leader <= 0 || o->report_fd < 0 || o->cgroup_fd < 0)
                return usage("--leader, --status-fd and --cgroup are needed");
        if (!args[0] || !args[1])
                return usage("no command after --");
        o->command.argv = args + 1;
        return 0;
}

static int read_proc(pid_t pid, const char *name, char *ret, size_t size) {
        _cleanup_close_ int fd = -1;
        char path[64];
        size_t used = 0;
        ssize_t n;

        (void) snprintf(path, sizeof path, "/proc/%d/%s", (int) pid, name);
        fd = open(path, O_RDONLY|O_CLOEXEC);
        if (fd < 0)
                return -errno;
        while (used < size - 1 && (n = RETRY_EINTR(read(fd, ret + used, size - 1 - used))) != 0) {
                if (n < 0)
                        return -errno;
                used += (size_t) n;
        }
        ret[used] = 0;
        return 0;
}

static int check_start(pid_t pid, unsigned long long started) {
        unsigned long long found;
        char text[1024], *at;
        int r;

        r = read_proc(pid, "stat", text, sizeof text);
        if (r < 0)
                return r;
        /* The name in parentheses may hold anything. */
        at = strrchr(text, ')');
        if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                          &found) != 1)
                return -EPROTO;
        return found == started ? 0 : -ESRCH;
}

static uint64_t status_field(const char *status, const char *name, int base) {
        const char *at = strstr(status, name);

        return at ? strtoull(at + strlen(name), NULL, base) : 0;
}

/* Reads the filters of a process, which has to stand still for it. */
static int read_filters(pid_t pid, struct confinement *c) {
        size_t used = 0;
        int r = 0, status;

        if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
                return -errno;
        if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 || RETRY_EINTR(waitpid(pid, &status, __WALL)) < 0)
                r = -errno;
        while (r >= 0) {
                long n;

                /* 0 is the one added last; how many there are is told by the first that is not. */
                n = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *) c->n_filters, NULL);
                if (n < 0) {
                        r = errno == ENOENT ? 0 : -errno;
                        break;
                }
                if (c->n_filters == MAX_FILTERS || used + (size_t) n > MAX_INSTRUCTIONS)
                        r = -E2BIG;
                else if (ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *) c->n_filters, instructions + used) < 0)
                        r = -errno;
                else {
                        c->filters[c->n_filters++] = (struct sock_fprog) {
                                .len = (unsigned short) n, .filter = instructions + used };
                        used += (size_t) n;
                }
        }
        (void) ptrace(PTRACE_DETACH, pid, NULL, NULL);
        return r;
}

static int read_confinement(pid_t pid, struct confinement *c) {
        char status[8192];
        int r;

        r = read_proc(pid, "status", status, sizeof status);
        if (r < 0)
                return r;
        c->bounding = status_field(status, "CapBnd:", 16);
        c->inheritable = status_field(status, "CapInh:", 16);
        c->no_new_privileges = status_field(status, "NoNewPrivs:", 10) != 0;
        c->filtered = (int) status_field(status, "Seccomp:", 10);
        if (c->filtered == SECCOMP_MODE_STRICT)
                return -EOPNOTSUPP;
        return c->filtered == SECCOMP_MODE_FILTER ? read_filters(pid, c) : 0;
}

static int set_capabilities(const struct confinement *c) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];

        for (int capability = 0; capability <= LAST_CAPABILITY; capability++)
                if (!(c->bounding >> capability & 1) && prctl(PR_CAPBSET_DROP, capability) < 0 && errno != EINVAL)
                        return -errno;
        /* Those of root in the container: a payload that is an ordinary user has none that could be copied. */
        for (int i = 0; i < 2; i++)
                data[i] = (struct __user_cap_data_struct) {
                        .effective = (uint32_t) (c->bounding >> 32 * i),
                        .permitted = (uint32_t) (c->bounding >> 32 * i),
                        .inheritable = (uint32_t) (c->inheritable >> 32 * i),
                };
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* In the child. Filters first: to set one takes a right that the payload may not have, or no new privileges. */
static int confine(void *data) {
        const struct confinement *c = data;

        for (size_t i = c->n_filters; i-- > 0;)
                if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &c->filters[i]) < 0)
                        return -errno;
        if (c->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        return set_capabilities(c);
}

static int open_namespaces(pid_t pid, int *ret_fds) {
        static const char *const names[MAX_NAMESPACES] = { "user", "ipc", "uts", "net", "pid", "cgroup", "mnt" };

        for (size_t i = 0; i < MAX_NAMESPACES; i++) {
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

static int join(const int *fds, int root_fd) {
        for (size_t i = 0; i < MAX_NAMESPACES; i++)
                if (fds[i] >= 0 && setns(fds[i], 0) < 0)
                        return -errno;
        if (fchdir(root_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
                return -errno;
        return 0;
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

static int prepare(struct options *o) {
        int fds[MAX_NAMESPACES], root_fd, r;
        char path[64];

        r = read_confinement(o->leader, &confinement);
        if (r < 0)
                return give_up("cannot read the payload's confinement", r);
        r = open_namespaces(o->leader, fds);
        if (r < 0)
                return give_up("cannot open the container's namespaces", r);
        (void) snprintf(path, sizeof path, "/proc/%d/root", (int) o->leader);
        root_fd = open(path, O_PATH|O_DIRECTORY|O_CLOEXEC);
        if (root_fd < 0)
                return give_up("cannot open the container's root", -errno);
        /* Now, since until now the number may have come to stand for another process. */
        r = check_start(o->leader, o->started);
        if (r < 0)
                return give_up("the container has ended", r);
        if (write(o->cgroup_fd, "0", 1) < 0)
                return give_up("cannot join the container's cgroup", -errno);
        r = join(fds, root_fd);
        if (r < 0)
                return give_up("cannot join the container's namespaces", r);
        if (o->env_fd >= 0) {
                r = take_environment(o->env_fd);
                if (r < 0)
                        return give_up("cannot set the environment", r);
        }
        if (o->tty) {
                r = give_terminal(&session, &o->command, o->rows, o->columns, true, -1);
                if (r < 0)
                        return give_up("cannot open a terminal", r);
        }
        return 0;
}

int main(int argc, char **argv) {
        int code, r;

        (void) argc;
        code = parse_options(argv + 1, &options);
        if (code != 0)
                return code;
        session.report_fd = options.report_fd;
        (void) fcntl(options.report_fd, F_SETFD, FD_CLOEXEC);
        (void) fcntl(options.cgroup_fd, F_SETFD, FD_CLOEXEC);
        if (options.env_fd >= 0)
                (void) fcntl(options.env_fd, F_SETFD, FD_CLOEXEC);
        code = prepare(&options);
        if (code != 0)
                return code;
        r = catch_signals(&session, true);
        if (r < 0)
                return give_up("cannot take signals", r);
        options.command.confine = confine;
        options.command.confine_data = &confinement;
        code = command_start(&options.command, options.report_fd, &session.pid);
        if (code != 0)
                return code;
        if (options.tty)
                close_streams(&options.command);
        return supervise(&session);
}
