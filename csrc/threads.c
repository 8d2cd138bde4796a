/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>

#include "threads.h"
#include "util.h"

struct start {
        void (*work)(void *userdata, unsigned number);
        void *userdata;
        unsigned number;
        pthread_t thread;
};

static void *start_work(void *userdata) {
        struct start *start = userdata;

        start->work(start->userdata, start->number);
        return NULL;
}

void run_threads(unsigned n_threads, void (*work)(void *userdata, unsigned number), void *userdata) {
        _cleanup_free_ struct start *starts = n_threads > 1 ? calloc(n_threads, sizeof *starts) : NULL;
        unsigned started = 0;
        sigset_t all, before;

        /* Signals stay with the interpreter's own threads. */
        sigfillset(&all);
        if (starts && pthread_sigmask(SIG_SETMASK, &all, &before) == 0) {
                for (; started < n_threads - 1; started++) {
                        struct start *start = &starts[started];

                        *start = (struct start) { .work = work, .userdata = userdata, .number = started + 1 };
                        if (pthread_create(&start->thread, NULL, start_work, start) != 0)
                                break;
                }
                pthread_sigmask(SIG_SETMASK, &before, NULL);
        }
        work(userdata, 0);
        for (unsigned i = 0; i < started; i++)
                pthread_join(starts[i].thread, NULL);
}
