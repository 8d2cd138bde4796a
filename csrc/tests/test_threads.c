/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tap.h"
#include "threads.h"

#define MOST 8U

struct seen {
        atomic_uint calls[MOST];
        cpu_set_t cpus[MOST];
};

static void look(void *userdata, unsigned number) {
        struct seen *seen = userdata;

        atomic_fetch_add(&seen->calls[number], 1);
        (void) sched_getaffinity(0, sizeof seen->cpus[number], &seen->cpus[number]);
}

static bool all_ran_once(const struct seen *seen, unsigned n) {
        for (unsigned i = 0; i < MOST; i++)
                if (seen->calls[i] != (i < n))
                        return false;
        return true;
}

static bool may_run_on(const struct seen *seen, unsigned n, const cpu_set_t *cpus) {
        for (unsigned i = 0; i < n; i++)
                if (!CPU_EQUAL(&seen->cpus[i], cpus))
                        return false;
        return true;
}

/* As a sandbox does; for the rest of the process. */
static void forbid_choosing_cpus(void) {
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setaffinity, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = sizeof filter / sizeof filter[0], .filter = filter };

        must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

int main(void) {
        cpu_set_t all, one;

        (void) sched_getaffinity(0, sizeof all, &all);
        for (unsigned n = 1; n <= MOST; n *= 2) {
                struct seen seen = {};

                run_threads(n, look, &seen);
                ok(all_ran_once(&seen, n), "each of %u threads works once", n);
                ok(may_run_on(&seen, n, &all), "each of %u may run where the caller may", n);
        }

        CPU_ZERO(&one);
        CPU_SET(sched_getcpu(), &one);
        must(sched_setaffinity(0, sizeof one, &one) == 0);
        {
                struct seen seen = {};

                run_threads(2, look, &seen);
                ok(all_ran_once(&seen, 2), "threads of a caller with one CPU work too");
                ok(may_run_on(&seen, 2, &one), "they stay on that CPU");
        }
        must(sched_setaffinity(0, sizeof all, &all) == 0);

        forbid_choosing_cpus();
        {
                struct seen seen = {};

                run_threads(4, look, &seen);
                ok(all_ran_once(&seen, 4), "where nobody may choose a CPU, there are as many threads");
        }
        return tap_done();
}
