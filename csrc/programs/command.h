/* SPDX-License-Identifier: Apache-2.0
 *
 * Executing the payload's command as a child, and telling what became of it. Descriptor `report_fd` gets lines of text:
 *
 *     pid PID                       the command was executed
 *     fail CODE ERRNO TEXT          it was not: CODE 127 not found, 126 not executable (or no such working directory),
 *                                   125 anything else
 *     exit CODE                     it ended
 *     signal NUMBER core|nocore     a signal ended it
 *
 * The lines are needed because an exit status alone does not tell 127 of the command from 127 of the program that could
 * not execute it, nor a signal from an exit with 128 + n.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
        EXIT_INTERNAL = 125,
        EXIT_CANNOT_EXECUTE = 126,
        EXIT_NOT_FOUND = 127,
        MAX_GROUPS = 256,
};

struct identity {
        bool set;
        uid_t uid;
        gid_t gid;
        gid_t groups[MAX_GROUPS];
        size_t n_groups;
};

struct command {
        char **argv;
        const char *workdir;            /* NULL: where we are */
        int streams[3];                 /* become its 0, 1, 2; -1: ours */
        bool terminal;                  /* its standard input becomes the controlling terminal of a new session */
        bool pdeathsig;                 /* it ends with us */
        struct identity identity;
        int (*confine)(void *data);     /* in the child, before it becomes another user; 0 or a negative errno */
        void *confine_data;
};

/* Parses UID:GID[:GID,GID...]. */
int parse_identity(const char *text, struct identity *ret);

/* Parses a descriptor number above 2 (0 to 2 are the command's own); -EINVAL for anything else. */
int parse_fd(const char *text);

/* Writes one line; control characters become '?'. Who reads is perhaps gone: there is nobody to tell about a failure. */
__attribute__((format(printf, 2, 3)))
void report(int report_fd, const char *format, ...);

/* Starts the command and waits until it is executed. Gives 0, or after a `fail` line the code to exit with. */
int command_start(const struct command *command, int report_fd, pid_t *ret_pid);

/* Reports how it ended, by its wait status, and gives the exit code a shell would show. */
int report_end(int report_fd, int status);
