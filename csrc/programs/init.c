/* SPDX-License-Identifier: Apache-2.0
 *
 * The first process of a workload's payload:
 *
 *     init --status-fd N [--pdeathsig] [--setsid-tty] [--deny-untranslated] [--workdir DIR] [--env NAME[=VALUE]]...
 *          [--user UID:GID[:GID,...]] -- CMD ARGS...
 *     init --handed [--workdir DIR] [--user UID:GID[:GID,...]] -- CMD ARGS...
 *
 * It runs CMD as its child, adopts and reaps whatever loses its parent, passes signals on, and ends as soon as CMD does,
 * with CMD's exit code or 128 + signal. What it reports to descriptor N, which CMD does not inherit, is in command.h.
 *
 * --env sets a variable of CMD's environment, or without a value removes it: for what would act on the programs in
 * between, as LD_PRELOAD does, and for what is meant for those alone. Others can see it, so it is not for secrets.
 *
 * --handed is for PID 1 of a container of systemd-nspawn. Descriptors, settings and environment come from `rootfs`
 * (handover.h); READY=1 is sent once CMD was executed. CMD gets pipes, or a terminal, whose content is copied to the
 * journal and to whoever is attached: a stream of the journal is a socket, which nobody can open as /dev/stdout.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../util.h"
#include "command.h"
#include "handover.h"
#include "session.h"
#include "untranslated.h"

struct options {
        int report_fd;
        bool handed;
        bool deny_untranslated;
        struct command command;
};

/* Too large for a stack that a static program may have to share with nothing else. */
static struct session session = NO_SESSION;
static struct options options = { .report_fd = -1, .command.streams = { -1, -1, -1 } };

static int usage(const char *problem) {
        fprintf(stderr,
                "init: %s\n"
                "usage: init --status-fd N [--pdeathsig] [--setsid-tty] [--deny-untranslated] [--workdir DIR] "
                "[--env NAME[=VALUE]]... [--user UID:GID[:GID,...]] -- CMD ARGS...\n"
                "       init --handed [--workdir DIR] [--user UID:GID[:GID,...]] -- CMD ARGS...\n", problem);
        return EXIT_INTERNAL;
}

static int deny(void *data) {
        (void) data;
        return deny_untranslated();
}

static int parse_options(char **args, struct options *o) {
        for (; *args && strcmp(*args, "--") != 0; args++) {
                if (strcmp(*args, "--handed") == 0)
                        o->handed = true;
                else if (strcmp(*args, "--pdeathsig") == 0)
                        o->command.pdeathsig = true;
                else if (strcmp(*args, "--setsid-tty") == 0)
                        o->command.terminal = true;
                else if (strcmp(*args, "--deny-untranslated") == 0)
                        o->command.confine = deny;
                else if (strcmp(*args, "--workdir") == 0 && args[1])
                        o->command.workdir = *++args;
                else if (strcmp(*args, "--user") == 0 && args[1]) {
                        if (parse_identity(*++args, &o->command.identity) < 0)
                                return usage("--user needs UID:GID[:GID,...]");
                } else if (strcmp(*args, "--env") == 0 && args[1]) {
                        if (putenv(*++args) != 0)       /* which removes it if there is no "=" */
                                return usage("--env cannot be set");
                } else if (strcmp(*args, "--status-fd") == 0 && args[1]) {
                        o->report_fd = parse_fd(*++args);
                        if (o->report_fd < 0)
                                return usage("--status-fd needs a number above 2");
                } else
                        return usage("unknown option or missing value");
        }
        if (o->handed == (o->report_fd >= 0))
                return usage("either --status-fd or --handed");
        if (!args[0] || !args[1])
                return usage("no command after --");
        o->command.argv = args + 1;
        return 0;
}

/* Maps what rootfs left for us: settings first, then the environment, which replaces ours. */
static int take_environment(struct handed_settings *ret_settings) {
        const char *container = getenv("container"), *socket_path = getenv("NOTIFY_SOCKET");
        char *text, *at, *end;
        struct stat st;

        if (fstat(HANDED_ENVIRONMENT, &st) < 0)
                return -errno;
        if (st.st_size == 0)
                return -EPROTO;
        text = mmap(NULL, (size_t) st.st_size, PROT_READ|PROT_WRITE, MAP_PRIVATE, HANDED_ENVIRONMENT, 0);
        if (text == MAP_FAILED)
                return -errno;
        (void) close(HANDED_ENVIRONMENT);
        end = text + st.st_size;
        if (end[-1] != 0 || parse_handed_settings(text, ret_settings) < 0)
                return -EPROTO;

        container = container ? strdup(container) : NULL;
        socket_path = socket_path ? strdup(socket_path) : NULL;
        if (clearenv() != 0)
                return -ENOMEM;
        if (container)
                (void) setenv("container", container, 1);
        for (at = text + strlen(text) + 1; at < end; at += strlen(at) + 1)
                if (strchr(at, '=') && putenv(at) != 0)
                        return -errno;
        ret_settings->notify_socket = socket_path;
        return 0;
}

static void notify_ready(const char *path) {
        static const char message[] = "READY=1";
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -1;

        if (!path || path[0] != '/' || strlen(path) >= sizeof address.sun_path)
                return;
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC, 0);
        if (fd >= 0)
                (void) !sendto(fd, message, sizeof message - 1, MSG_NOSIGNAL, (struct sockaddr *) &address, sizeof address);
}

static int give_streams(struct session *s, struct command *command, const struct handed_settings *settings) {
        static const int handed[] = { HANDED_LOG_OUT, HANDED_LOG_ERR }, own[] = { STDOUT_FILENO, STDERR_FILENO };
        const int *logs = settings->attached ? handed : own;

        if (settings->attached)
                s->caller_fd = HANDED_CALLER;
        if (settings->terminal)
                return give_terminal(s, command, settings->rows, settings->columns, logs[0]);
        if (!settings->attached) {
                command->streams[0] = open("/dev/null", O_RDONLY|O_CLOEXEC);
                if (command->streams[0] < 0)
                        return -errno;
        }
        return give_pipes(s, command, logs);
}

/* PR_SET_PDEATHSIG says nothing of a parent that died before the call; its end of the status pipe does. */
static bool supervisor_is_gone(int report_fd) {
        struct pollfd p = { .fd = report_fd };

        return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP));
}

static int set_cloexec(int first, int last) {
        for (int fd = first; fd <= last; fd++)
                if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                        return -errno;
        return 0;
}

int main(int argc, char **argv) {
        struct handed_settings settings = {};
        int code, r;

        (void) argc;
        code = parse_options(argv + 1, &options);
        if (code != 0)
                return code;
        if (options.handed) {
                options.report_fd = HANDED_REPORT;
                r = take_environment(&settings);
                if (r >= 0)
                        r = set_cloexec(HANDED_REPORT, HANDED_REPORT);
                if (r >= 0 && settings.attached)
                        r = set_cloexec(HANDED_LOG_OUT, HANDED_CALLER);
                if (r < 0)
                        return usage("nothing was handed over");
        } else if (set_cloexec(options.report_fd, options.report_fd) < 0)
                return usage("--status-fd is not open");

        session.report_fd = options.report_fd;
        r = catch_signals(&session, options.handed);
        (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (options.command.pdeathsig) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (supervisor_is_gone(options.report_fd))
                        return EXIT_INTERNAL;
        }
        if (r >= 0 && options.handed)
                r = give_streams(&session, &options.command, &settings);
        if (r < 0) {
                report(options.report_fd, "fail %d %d streams: %s\n", EXIT_INTERNAL, -r, strerror(-r));
                return EXIT_INTERNAL;
        }
        code = command_start(&options.command, options.report_fd, &session.pid);
        if (code != 0)
                return code;
        if (options.handed) {
                close_streams(&session, &options.command);
                notify_ready(settings.notify_socket);
        }
        return supervise(&session);
}
