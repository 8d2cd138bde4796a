/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_THREADS_H
#define VOLT_THREADS_H

/* Runs work(userdata, number) on up to n_threads threads, with numbers from 0, and returns when all of them have ended.
 * Number 0 is the caller's own thread; where no other can be started, it does all the work. */
void run_threads(unsigned n_threads, void (*work)(void *userdata, unsigned number), void *userdata);

#endif
