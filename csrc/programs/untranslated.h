/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers ENOSYS to the system calls that take paths and that proot 5.1 does not know: it lets them through as they
 * are, and they act on the host's files. C libraries then fall back to older calls, which proot translates. A newer
 * proot knows some of them; denying those costs nothing. io_uring opens files behind any tracer's back.
 */
#pragma once

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

/* Since 424 the numbers are the same on all architectures; older headers lack the newest. */
enum {
        NR_io_uring_setup = 425,
        NR_open_tree = 428,
        NR_move_mount = 429,
        NR_fspick = 433,
        NR_openat2 = 437,
        NR_faccessat2 = 439,
        NR_mount_setattr = 442,
        NR_fchmodat2 = 452,
        NR_setxattrat = 463,
        NR_getxattrat = 464,
        NR_listxattrat = 465,
        NR_removexattrat = 466,
        NR_open_tree_attr = 467,
};

#define DENY(number) \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS)

static inline int deny_untranslated(void) {
#ifdef NATIVE_ARCH
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                DENY(__NR_statx),
                DENY(__NR_execveat),
                DENY(NR_io_uring_setup),
                DENY(NR_open_tree),
                DENY(NR_move_mount),
                DENY(NR_fspick),
                DENY(NR_openat2),
                DENY(NR_faccessat2),
                DENY(NR_mount_setattr),
                DENY(NR_fchmodat2),
                DENY(NR_setxattrat),
                DENY(NR_getxattrat),
                DENY(NR_listxattrat),
                DENY(NR_removexattrat),
                DENY(NR_open_tree_attr),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = sizeof filter / sizeof *filter, .filter = filter };

        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
                return 0;
        if (errno != EACCES)
                return -errno;
        /* Without CAP_SYS_ADMIN only for who gains no privileges by exec; under a tracer nobody does. */
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
                return -errno;
#endif
        return 0;
}
