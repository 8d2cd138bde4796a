/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <stdatomic.h>

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
        (void) sched_setaffinity(0, sizeof one, &one);
        {
                struct seen seen = {};

                run_threads(2, look, &seen);
                ok(all_ran_once(&seen, 2), "threads of a caller with one CPU work too");
                ok(may_run_on(&seen, 2, &one), "they stay on that CPU");
        }
        return tap_done();
}
