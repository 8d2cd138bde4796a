/* SPDX-License-Identifier: Apache-2.0
 *
 * Copying between a payload and its caller: pipes or a pseudo terminal on one side, the caller's own descriptors and a
 * log on the other. Nothing blocks but the log: the loop that calls this also reaps and forwards signals.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { FLOW_BUFFER = 16384, FLOW_POLLS = 2 };

/* Bytes on their way from one descriptor to another, and to a log. -1 stands for none. */
struct flow {
        int from;               /* ours; closed when its end is reached or nobody wants more */
        int to;                 /* -1 once its reader is gone */
        int log;                /* gets what comes, at once and in blocking writes */
        bool is_input;          /* towards a terminal: its end is told by an end-of-file character */
        bool ends_with_reader;  /* close `from` when the reader of `to` is gone: who writes to a pipe meets SIGPIPE */
        size_t size, sent;
        char buffer[FLOW_BUFFER];
};

/* Takes a pseudo terminal from /dev/ptmx as this mount namespace has it. Rows and columns of 0 stay unset. */
int open_terminal(unsigned short rows, unsigned short columns, int *ret_master, int *ret_slave);

/* Gives the terminal `master` the size of the one at `fd`; nothing happens if that is none. */
void copy_terminal_size(int fd, int master);

/* Fills in FLOW_POLLS entries for poll(). */
void flow_prepare(const struct flow *flow, struct pollfd *polls);

/* Does what poll() said is possible. */
void flow_advance(struct flow *flow, const struct pollfd *polls);

/* Whether something still waits for the reader of `to`. */
bool flow_is_pending(const struct flow *flow);

/* After the writer's end: reads what is there without waiting for more. False once nothing is left to read. */
bool flow_drain(struct flow *flow);
