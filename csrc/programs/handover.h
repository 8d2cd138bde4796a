/* SPDX-License-Identifier: Apache-2.0
 *
 * What `rootfs` hands to `init` through systemd-nspawn, which passes descriptors on by the protocol of socket activation
 * (sd_listen_fds(3)): as 3, 4 and so on, in this order.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
        HANDED_REPORT = 3,      /* the file `run` of the container's folder; lines as in command.h */
        HANDED_ENVIRONMENT,     /* a memfd: a line of settings and NAME=VALUE..., each ended by a null byte */
        /* Where somebody is attached: without him the journal is standard output and standard error. */
        HANDED_LOG_OUT,         /* streams of the journal */
        HANDED_LOG_ERR,
        HANDED_CALLER,          /* the connection to him (session.h) */
};

struct handed_settings {
        bool attached;
        bool terminal;
        unsigned short rows, columns;
        const char *notify_socket;
};

#define HANDED_FORMAT "attached=%d tty=%d size=%hux%hu"

static inline int parse_handed_settings(const char *text, struct handed_settings *ret) {
        struct handed_settings s = {};
        int attached, terminal;

        if (sscanf(text, HANDED_FORMAT, &attached, &terminal, &s.rows, &s.columns) != 4)
                return -1;
        s.attached = attached;
        s.terminal = terminal;
        *ret = s;
        return 0;
}
