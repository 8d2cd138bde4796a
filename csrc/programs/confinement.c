/* SPDX-License-Identifier: Apache-2.0 */
#include "confinement.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"

enum { MAX_INSTRUCTIONS = 65536, LAST_CAPABILITY = 63 };

static struct sock_filter instructions[MAX_INSTRUCTIONS];

static int read_status(pid_t pid, char *ret, size_t size) {
        _cleanup_close_ int fd = -1;
        char path[32];
        size_t used = 0;
        ssize_t n;

        (void) snprintf(path, sizeof path, "/proc/%d/status", (int) pid);
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

static int parse_field(const char *status, const char *name, int base, uint64_t *ret) {
        const char *at = strstr(status, name);

        if (!at)
                return -EPROTO;
        *ret = strtoull(at + strlen(name), NULL, base);
        return 0;
}

/* Gives the number of instructions of filter number `index`, the first one set being 0. */
static int read_filter(pid_t pid, size_t index, struct sock_filter *ret, size_t room) {
        long n = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *) index, NULL);

        if (n < 0)
                return -errno;
        if ((size_t) n > room)
                return -E2BIG;
        return ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *) index, ret) < 0 ? -errno : (int) n;
}

static int read_stopped(pid_t pid, struct confinement *c) {
        size_t used = 0;

        for (;;) {
                int n = read_filter(pid, c->n_filters, instructions + used, MAX_INSTRUCTIONS - used);

                if (n == -ENOENT)       /* no more of them */
                        return 0;
                if (n < 0)
                        return n;
                if (c->n_filters == MAX_FILTERS)
                        return -E2BIG;
                c->filters[c->n_filters++] = (struct sock_fprog) { .len = (unsigned short) n, .filter = instructions + used };
                used += (size_t) n;
        }
}

static int read_filters(pid_t pid, struct confinement *c) {
        int r = 0, status;

        if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
                return -errno;
        if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 || RETRY_EINTR(waitpid(pid, &status, __WALL)) < 0)
                r = -errno;
        else if (!WIFSTOPPED(status))
                return -ESRCH;
        if (r >= 0)
                r = read_stopped(pid, c);
        (void) ptrace(PTRACE_DETACH, pid, NULL, NULL);
        return r;
}

int read_confinement(pid_t pid, struct confinement *ret) {
        uint64_t no_new_privileges, mode, permitted;
        char status[8192];
        int r;

        ret->n_filters = 0;
        r = read_status(pid, status, sizeof status);
        if (r >= 0)
                r = parse_field(status, "CapBnd:", 16, &ret->bounding);
        if (r >= 0)
                r = parse_field(status, "CapInh:", 16, &ret->inheritable);
        if (r >= 0)
                r = parse_field(status, "CapPrm:", 16, &permitted);
        if (r >= 0)
                r = parse_field(status, "NoNewPrivs:", 10, &no_new_privileges);
        if (r >= 0)
                r = parse_field(status, "Seccomp:", 10, &mode);
        if (r < 0)
                return r;
        ret->no_new_privileges = no_new_privileges != 0;
        /* It can gain nothing then, whatever the bounding set says. */
        if (ret->no_new_privileges)
                ret->bounding &= permitted;
        if (mode == SECCOMP_MODE_STRICT)
                return -EOPNOTSUPP;
        return mode == SECCOMP_MODE_FILTER ? read_filters(pid, ret) : 0;
}

static int take_capabilities(const struct confinement *c) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];

        for (int capability = 0; capability <= LAST_CAPABILITY; capability++)
                if (!(c->bounding >> capability & 1) && prctl(PR_CAPBSET_DROP, capability) < 0 && errno != EINVAL)
                        return -errno;
        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        /* What is permitted stays until exec: becoming another user takes some of it. */
        for (int i = 0; i < 2; i++)
                data[i].inheritable = (uint32_t) (c->inheritable >> 32 * i);
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int take_confinement(const struct confinement *c) {
        /* First: to set one takes CAP_SYS_ADMIN, or no new privileges, which the payload may not have. */
        for (size_t i = 0; i < c->n_filters; i++)
                if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &c->filters[i]) < 0)
                        return -errno;
        if (c->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        return take_capabilities(c);
}
