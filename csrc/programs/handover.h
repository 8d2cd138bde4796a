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
        HANDED_LOG_OUT,         /* journal streams, where somebody is attached: standard output has another reader then */
        HANDED_LOG_ERR,
};

struct handed_settings {
        bool attached;
        bool terminal;
        bool has_stdin;
        unsigned short rows, columns;
        const char *notify_socket;
};

#define HANDED_FORMAT "attached=%d tty=%d stdin=%d size=%hux%hu"

static inline int parse_handed_settings(const char *text, struct handed_settings *ret) {
        struct handed_settings s = {};
        int attached, terminal, has_stdin;

        if (sscanf(text, HANDED_FORMAT, &attached, &terminal, &has_stdin, &s.rows, &s.columns) != 5)
                return -1;
        s.attached = attached;
        s.terminal = terminal;
        s.has_stdin = has_stdin;
        *ret = s;
        return 0;
}
