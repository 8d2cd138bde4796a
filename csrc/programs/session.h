/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking after a command that was started: signals are passed on, children reaped, its streams copied.
 *
 * The caller, if there is one, holds the other end of `caller_fd`, a SOCK_SEQPACKET socket. He sends
 *
 *     size ROWSxCOLUMNS     of his terminal, which the command's is to have
 *     closed STREAM         1 or 2: nobody reads it any more, so that who writes to it shall meet SIGPIPE
 *
 * and gets `ended` once the command has, when the rest of its output may still be under way. His end of it closed means
 * that he is gone.
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
        int caller_fd;                  /* or -1 */
        pid_t pid;                      /* of the command */
        int master, slave;              /* of its terminal, or -1 */
        bool ends_with_caller;          /* the terminal hangs up when the caller is gone */
        struct flow flows[MAX_FLOWS];   /* standard output, or the terminal's; standard error, or what is typed */
        size_t n_flows;
        bool asked;                     /* to end */
        bool ended;
        int code;
};

#define NO_SESSION { .report_fd = -1, .signal_fd = -1, .caller_fd = -1, .master = -1, .slave = -1 }

/* From now on signals are read from a descriptor. Without `all` those that a terminal stops us with keep their effect. */
int catch_signals(struct session *session, bool all);

/* Makes an ordinary user the owner of a pipe of Volt's, which he could else not open by name. Nothing else is given away:
 * what stands there may be /dev/null of the host. That it fails, as for a pipe of a user namespace above ours, is no error. */
void give_pipe_away(int fd, const struct identity *identity);

/* Gives the command pipes for its output: copied to ours if there is a caller, and to the two of `logs`. */
int give_pipes(struct session *session, struct command *command, const int logs[2]);

/* Gives the command a terminal of this mount namespace. With a caller it is copied to standard output and from standard
 * input; what it shows goes to `log` as well, unless that is -1. */
int give_terminal(struct session *session, struct command *command, unsigned short rows, unsigned short columns, int log);

/* Closes our copies of the command's streams, once it has its own, save that of its terminal. */
void close_streams(const struct session *session, const struct command *command);

/* Reports the command's end when it comes, returns when what it wrote has been copied, and gives its exit code. */
int supervise(struct session *session);
