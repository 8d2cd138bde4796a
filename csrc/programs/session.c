/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"

int catch_signals(struct session *session, bool all) {
        static const int some[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT };
        static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPIPE };
        sigset_t signals;
        int fd;

        /* Ignored by the caller, SIGCHLD would never come, and children would vanish unreaped. */
        (void) signal(SIGCHLD, SIG_DFL);
        (void) signal(SIGPIPE, SIG_IGN);
        if (all) {
                sigfillset(&signals);
                for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
                        sigdelset(&signals, faults[i]);
        } else {
                sigemptyset(&signals);
                sigaddset(&signals, SIGCHLD);
                for (size_t i = 0; i < sizeof some / sizeof *some; i++)
                        sigaddset(&signals, some[i]);
        }
        (void) sigprocmask(SIG_SETMASK, &signals, NULL);
        fd = signalfd(-1, &signals, SFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        session->signal_fd = fd;
        return 0;
}

struct flow *add_flow(struct session *session, int from, int to, int log) {
        struct flow *flow = &session->flows[session->n_flows++];

        flow->from = from;
        flow->to = to;
        flow->log = log;
        return flow;
}

int give_terminal(struct session *session, struct command *command, unsigned short rows, unsigned short columns,
                  bool has_stdin, int log) {
        int slave, input, r;

        r = open_terminal(rows, columns, &session->master, &slave);
        if (r < 0)
                return r;
        command->terminal = true;
        for (int i = 0; i < 3; i++)
                command->streams[i] = slave;
        (void) add_flow(session, session->master, STDOUT_FILENO, log);
        if (has_stdin) {
                struct flow *flow;

                /* A descriptor of its own: either flow may end first. */
                input = fcntl(session->master, F_DUPFD_CLOEXEC, 0);
                if (input < 0)
                        return -errno;
                flow = add_flow(session, STDIN_FILENO, input, -1);
                flow->is_input = true;
                flow->ends_with_reader = true;
        }
        return 0;
}

void close_streams(const struct command *command) {
        for (int i = 0; i < 3; i++)
                if (command->streams[i] >= 0 && (i == 0 || command->streams[i] != command->streams[i - 1]))
                        close_fd(command->streams[i]);
}

/* What a terminal sends goes to its whole foreground process group: the command has it already if it is in ours. */
static bool came_to_the_whole_group(const struct signalfd_siginfo *info, pid_t pid) {
        return info->ssi_code == SI_KERNEL && info->ssi_signo != SIGHUP && getpgid(pid) == getpgrp();
}

/* Reaps all that has ended; true once that includes the payload. */
static bool reap(pid_t pid, int *ret_status) {
        bool ended = false;
        int status;
        pid_t one;

        /* One SIGCHLD may stand for many children. */
        while (!ended && (one = waitpid(-1, &status, WNOHANG)) > 0)
                if (one == pid) {
                        *ret_status = status;
                        ended = true;
                }
        return ended;
}

static bool handle_signal(struct session *s, int *ret_status) {
        struct signalfd_siginfo info;

        if (read(s->signal_fd, &info, sizeof info) != sizeof info)
                return false;
        if (info.ssi_signo == SIGCHLD)
                return reap(s->pid, ret_status);
        if (info.ssi_signo == SIGWINCH && s->master >= 0)
                copy_terminal_size(isatty(STDIN_FILENO) ? STDIN_FILENO : STDOUT_FILENO, s->master);
        else if (!came_to_the_whole_group(&info, s->pid))
                (void) kill(s->pid, (int) info.ssi_signo);
        return false;
}

static void copy_rest(struct session *s) {
        for (size_t i = 0; i < s->n_flows; i++) {
                struct flow *flow = &s->flows[i];
                struct pollfd polls[FLOW_POLLS];

                if (flow->is_input)
                        continue;
                /* Others may hold the other end open: what is there now was written before the payload ended. */
                do
                        while (flow_is_pending(flow)) {
                                flow_prepare(flow, polls);
                                (void) RETRY_EINTR(poll(polls, FLOW_POLLS, -1));
                                flow_advance(flow, polls);
                        }
                while (flow_drain(flow));
        }
}

int supervise(struct session *s) {
        int status;

        for (;;) {
                struct pollfd polls[1 + MAX_FLOWS * FLOW_POLLS] = { { .fd = s->signal_fd, .events = POLLIN } };

                for (size_t i = 0; i < s->n_flows; i++)
                        flow_prepare(&s->flows[i], polls + 1 + i * FLOW_POLLS);
                if (poll(polls, 1 + s->n_flows * FLOW_POLLS, -1) < 0)
                        continue;
                if (polls[0].revents != 0 && handle_signal(s, &status))
                        break;
                for (size_t i = 0; i < s->n_flows; i++)
                        flow_advance(&s->flows[i], polls + 1 + i * FLOW_POLLS);
        }
        copy_rest(s);
        return report_end(s->report_fd, status);
}
