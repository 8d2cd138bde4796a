/* SPDX-License-Identifier: Apache-2.0
 *
 * Executes a command with less than it could have, for enter to find:
 *
 *     confined [filters] [no-new-privs] [drop=CAPABILITY]... [permit-none] -- CMD ARGS...
 *
 * `filters` are two: the first denies mkdir, the second that there be a third. `permit-none` leaves the bounding set as it
 * is, as bwrap does when root starts it.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_UNLESS(value, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (n))
#define DENY BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int fail(const char *what) {
        perror(what);
        return EXIT_FAILURE;
}

static int set_filters(void) {
        struct sock_filter no_mkdir[] = {
                LOAD(nr),
#ifdef __NR_mkdir
                SKIP_UNLESS(__NR_mkdir, 1), DENY,
#endif
                SKIP_UNLESS(__NR_mkdirat, 1), DENY,
                ALLOW,
        };
        struct sock_filter no_more[] = {
                LOAD(nr),
                SKIP_UNLESS(__NR_seccomp, 1), DENY,
                SKIP_UNLESS(__NR_prctl, 3), LOAD(args[0]), SKIP_UNLESS(PR_SET_SECCOMP, 1), DENY,
                ALLOW,
        };
        struct sock_fprog programs[] = {
                { .len = sizeof no_mkdir / sizeof *no_mkdir, .filter = no_mkdir },
                { .len = sizeof no_more / sizeof *no_more, .filter = no_more },
        };

        for (size_t i = 0; i < 2; i++)
                if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &programs[i]) < 0)
                        return -errno;
        return 0;
}

static int permit_none(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};

        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int main(int argc, char **argv) {
        (void) argc;
        for (argv++; *argv && strcmp(*argv, "--") != 0; argv++) {
                if (strcmp(*argv, "filters") == 0) {
                        if (set_filters() < 0)
                                return fail("filters");
                } else if (strcmp(*argv, "no-new-privs") == 0) {
                        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                                return fail("no-new-privs");
                } else if (strcmp(*argv, "permit-none") == 0) {
                        if (permit_none() < 0)
                                return fail("permit-none");
                } else if (strncmp(*argv, "drop=", 5) != 0 || prctl(PR_CAPBSET_DROP, atoi(*argv + 5)) < 0)
                        return fail(*argv);
        }
        if (!argv[0] || !argv[1])
                return EXIT_FAILURE;
        execvp(argv[1], argv + 1);
        return fail(argv[1]);
}
