/* SPDX-License-Identifier: Apache-2.0
 *
 * Copying between a payload and its caller: pipes or a pseudo terminal on one side, pipes or a socket of Volt's own and a
 * log on the other. Nothing blocks: the loop that calls this also reaps and forwards signals.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { FLOW_BUFFER = 16384, FLOW_POLLS = 3 };

/* Bytes on their way from one descriptor to another, and to a log. -1 stands for none; all are non-blocking. */
struct flow {
        int from;               /* ours; closed when its end is reached or nobody wants more */
        int to;                 /* -1 once its reader is gone */
        int log;
        size_t size, sent, logged;
        size_t rest;            /* after flow_end(): how much is still read */
        char buffer[FLOW_BUFFER];
};

/* Takes a pseudo terminal from /dev/ptmx as this mount namespace has it. Rows and columns of 0 stay unset. */
int open_terminal(unsigned short rows, unsigned short columns, int *ret_master, int *ret_slave);

void set_terminal_size(int master, unsigned short rows, unsigned short columns);

/* Fills in FLOW_POLLS entries for poll(). */
void flow_prepare(const struct flow *flow, struct pollfd *polls);

/* Does what poll() said is possible. */
void flow_advance(struct flow *flow, const struct pollfd *polls);

/* The reader is gone: from now on there is the log alone. */
void flow_lose_reader(struct flow *flow);

/* Takes no more from the writer, who meets SIGPIPE. */
void flow_close(struct flow *flow);

/* The writer has ended. Others may still hold its end of the pipe or terminal and write to it without end, so no more is
 * read than what can have been written until now. */
void flow_end(struct flow *flow);

/* After flow_end(): reads what is left. False once all of it was passed on. */
bool flow_has_rest(struct flow *flow);
