/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking after a command that was started: signals are passed on, children reaped, its streams copied.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "command.h"
#include "pump.h"

enum { MAX_FLOWS = 2 };

struct session {
        int report_fd;
        int signal_fd;
        pid_t pid;                      /* of the command */
        int master;                     /* of its terminal, or -1 */
        struct flow flows[MAX_FLOWS];
        size_t n_flows;
};

/* From now on signals are read from a descriptor: all that can be caught, or those that ask a program to do something. */
int catch_signals(struct session *session, bool all);

struct flow *add_flow(struct session *session, int from, int to, int log);

/* Gives the command a terminal of this mount namespace, copied to standard output and from standard input. */
int give_terminal(struct session *session, struct command *command, unsigned short rows, unsigned short columns,
                  bool has_stdin, int log);

/* Closes our copies of the command's streams, once it has its own. */
void close_streams(const struct command *command);

/* Waits for the command's end, and until what it wrote has been copied; reports it, and gives its exit code. */
int supervise(struct session *session);
