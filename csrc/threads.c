/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "threads.h"
#include "util.h"

struct start {
        void (*work)(void *userdata, unsigned number);
        void *userdata;
        unsigned number;
        const cpu_set_t *cpus;    /* what it may run on, if it was begun on fewer */
        pthread_t thread;
};

static void *start_work(void *userdata) {
        struct start *start = userdata;

        if (start->cpus)
                (void) sched_setaffinity(0, sizeof *start->cpus, start->cpus);
        start->work(start->userdata, start->number);
        return NULL;
}

/* Prepares threads that begin on another CPU than their maker. Left to the kernel, one that is made just when another
 * thread is ending on the other CPU is put on its maker's, and waits there for the next tick, up to 4 ms. */
static bool avoid_own_cpu(pthread_attr_t *attr, cpu_set_t *ret_allowed) {
        cpu_set_t others;
        int cpu = sched_getcpu();

        if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof *ret_allowed, ret_allowed) < 0)
                return false;
        others = *ret_allowed;
        CPU_CLR(cpu, &others);
        return CPU_COUNT(&others) > 0 && pthread_attr_setaffinity_np(attr, sizeof others, &others) == 0;
}

static unsigned start_threads(struct start *starts, unsigned n, void (*work)(void *userdata, unsigned number),
                              void *userdata, cpu_set_t *allowed) {
        bool is_elsewhere;
        unsigned started;
        pthread_attr_t attr;

        if (pthread_attr_init(&attr) != 0)
                return 0;
        is_elsewhere = avoid_own_cpu(&attr, allowed);
        for (started = 0; started < n; started++) {
                struct start *start = &starts[started];

                *start = (struct start) { .work = work, .userdata = userdata, .number = started + 1 };
                start->cpus = is_elsewhere ? allowed : NULL;
                /* What forbids to choose a CPU does not forbid threads. */
                if (pthread_create(&start->thread, &attr, start_work, start) != 0 &&
                    pthread_create(&start->thread, NULL, start_work, start) != 0)
                        break;
        }
        (void) pthread_attr_destroy(&attr);
        return started;
}

void run_threads(unsigned n_threads, void (*work)(void *userdata, unsigned number), void *userdata) {
        _cleanup_free_ struct start *starts = n_threads > 1 ? calloc(n_threads - 1, sizeof *starts) : NULL;
        unsigned started = 0;
        sigset_t all, before;
        cpu_set_t allowed;

        /* Signals stay with the interpreter's own threads. */
        sigfillset(&all);
        if (starts && pthread_sigmask(SIG_SETMASK, &all, &before) == 0) {
                started = start_threads(starts, n_threads - 1, work, userdata, &allowed);
                pthread_sigmask(SIG_SETMASK, &before, NULL);
        }
        work(userdata, 0);
        for (unsigned i = 0; i < started; i++)
                pthread_join(starts[i].thread, NULL);
}
