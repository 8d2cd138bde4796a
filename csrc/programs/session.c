/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"

/* How long a command that was asked to end waits for a caller who reads nothing. */
enum { PATIENCE_MS = 500 };

int catch_signals(struct session *s, bool all) {
        static const int stops[] = { SIGTSTP, SIGTTIN, SIGTTOU };
        sigset_t signals;
        int fd;

        /* Ignored by the caller, SIGCHLD would never come, and children would vanish unreaped. */
        (void) signal(SIGCHLD, SIG_DFL);
        (void) signal(SIGPIPE, SIG_IGN);
        /* A fault of our own ends us all the same: the kernel lets nobody block that. */
        sigfillset(&signals);
        for (size_t i = 0; !all && i < sizeof stops / sizeof *stops; i++)
                sigdelset(&signals, stops[i]);
        (void) sigprocmask(SIG_SETMASK, &signals, NULL);
        fd = signalfd(-1, &signals, SFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        s->signal_fd = fd;
        return 0;
}

static int set_nonblocking(int fd) {
        int flags = fcntl(fd, F_GETFL);

        return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

/* All of these are Volt's own: a flag set on a descriptor of the caller's would be set for him as well. */
static int add_flow(struct session *s, int from, int to, int log) {
        struct flow *flow = &s->flows[s->n_flows++];
        const int fds[] = { from, to, log };

        flow->from = from;
        flow->to = to;
        flow->log = log;
        for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
                int r = fds[i] >= 0 ? set_nonblocking(fds[i]) : 0;

                if (r < 0)
                        return r;
        }
        return 0;
}

/* Or an ordinary user could write to his streams, but not open them as /dev/stdout. */
static int give_away(int fd, const struct identity *identity, bool with_group) {
        if (!identity->set)
                return 0;
        return fchown(fd, identity->uid, with_group ? identity->gid : (gid_t) -1) < 0 ? -errno : 0;
}

void give_pipe_away(int fd, const struct identity *identity) {
        struct stat st;

        if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
                (void) give_away(fd, identity, true);
}

int give_pipes(struct session *s, struct command *command, const int logs[2]) {
        for (int stream = STDOUT_FILENO; stream <= STDERR_FILENO; stream++) {
                int fds[2], r;

                if (pipe2(fds, O_CLOEXEC) < 0)
                        return -errno;
                command->streams[stream] = fds[1];
                r = give_away(fds[1], &command->identity, true);
                if (r >= 0)
                        r = add_flow(s, fds[0], s->caller_fd >= 0 ? stream : -1, logs[stream - 1]);
                if (r < 0)
                        return r;
        }
        if (s->caller_fd >= 0)
                give_pipe_away(STDIN_FILENO, &command->identity);
        return 0;
}

int give_terminal(struct session *s, struct command *command, unsigned short rows, unsigned short columns, int log) {
        int r;

        r = open_terminal(rows, columns, &s->master, &s->slave);
        if (r < 0)
                return r;
        command->terminal = true;
        for (int i = 0; i < 3; i++)
                command->streams[i] = s->slave;
        r = give_away(s->slave, &command->identity, false);
        if (r >= 0)
                r = add_flow(s, s->master, s->caller_fd >= 0 ? STDOUT_FILENO : -1, log);
        if (r >= 0 && s->caller_fd >= 0)
                r = add_flow(s, STDIN_FILENO, s->master, -1);
        return r;
}

void close_streams(const struct session *s, const struct command *command) {
        /* A terminal that nobody has open ends the flow, though the command may be about to open it again. */
        for (int i = 0; i < 3; i++)
                if (command->streams[i] != s->slave)
                        close_fd(command->streams[i]);
}

static void leave_caller(struct session *s) {
        s->caller_fd = close_fd(s->caller_fd);
        for (size_t i = 0; i < s->n_flows; i++)
                flow_lose_reader(&s->flows[i]);
}

static void lose_caller(struct session *s) {
        leave_caller(s);
        if (s->master < 0)
                return;
        flow_close(&s->flows[1]);
        if (s->ends_with_caller) {
                flow_close(&s->flows[0]);
                s->master = -1;
        }
}

static void hear_caller(struct session *s) {
        char text[64];
        unsigned short rows, columns;
        int stream;
        ssize_t n = RETRY_EINTR(recv(s->caller_fd, text, sizeof text - 1, MSG_DONTWAIT));

        if (n <= 0) {
                if (n == 0 || errno != EAGAIN)
                        lose_caller(s);
                return;
        }
        text[n] = 0;
        if (sscanf(text, "size %hux%hu", &rows, &columns) == 2 && s->master >= 0)
                set_terminal_size(s->master, rows, columns);
        else if (sscanf(text, "closed %d", &stream) == 1 && s->master < 0 && stream >= 1 && (size_t) stream <= s->n_flows)
                flow_close(&s->flows[stream - 1]);
}

static void take_end(struct session *s, int status) {
        static const char message[] = "ended";

        s->ended = true;
        s->code = report_end(s->report_fd, status);
        if (s->caller_fd >= 0)
                (void) !send(s->caller_fd, message, sizeof message - 1, MSG_DONTWAIT|MSG_NOSIGNAL);
        s->slave = close_fd(s->slave);
        if (s->master >= 0 && s->n_flows > 1) {
                flow_close(&s->flows[1]);
                flow_lose_reader(&s->flows[1]);
        }
        for (size_t i = 0; i < s->n_flows; i++)
                flow_end(&s->flows[i]);
}

/* One SIGCHLD may stand for many children. */
static void reap(struct session *s) {
        int status;
        pid_t one;

        while ((one = waitpid(-1, &status, WNOHANG)) > 0)
                if (one == s->pid && !s->ended)
                        take_end(s, status);
}

/* What a terminal sends goes to its whole foreground process group: the command has it already if it is in ours. */
static bool came_to_the_whole_group(const struct signalfd_siginfo *info, pid_t pid) {
        return info->ssi_code == SI_KERNEL && info->ssi_signo != SIGHUP && getpgid(pid) == getpgrp();
}

static bool asks_to_end(uint32_t number) {
        return number == SIGTERM || number == SIGINT || number == SIGQUIT;
}

static bool asks_for_nothing(uint32_t number) {
        return number == SIGWINCH || number == SIGCONT || number == SIGURG;
}

static void handle_signal(struct session *s) {
        struct signalfd_siginfo info;

        if (read(s->signal_fd, &info, sizeof info) != sizeof info)
                return;
        if (info.ssi_signo == SIGCHLD)
                reap(s);
        else if (info.ssi_pid == (uint32_t) getpid())
                return;         /* SIGPIPE of our own writes */
        else if (!s->ended) {
                s->asked = s->asked || asks_to_end(info.ssi_signo);
                if (!came_to_the_whole_group(&info, s->pid))
                        (void) kill(s->pid, (int) info.ssi_signo);
        } else if (!asks_for_nothing(info.ssi_signo))
                leave_caller(s);
}

/* Not finished before the log has all of it; a caller who does not read can be left. */
static bool has_rest(struct session *s) {
        bool rest = false;

        for (size_t i = 0; i < s->n_flows; i++)
                rest = flow_has_rest(&s->flows[i]) || rest;
        return rest;
}

int supervise(struct session *s) {
        int n;

        while (!s->ended || has_rest(s)) {
                struct pollfd polls[2 + MAX_FLOWS * FLOW_POLLS] = {
                        { .fd = s->signal_fd, .events = POLLIN },
                        { .fd = s->caller_fd, .events = POLLIN },
                };

                for (size_t i = 0; i < s->n_flows; i++)
                        flow_prepare(&s->flows[i], polls + 2 + i * FLOW_POLLS);
                n = poll(polls, 2 + s->n_flows * FLOW_POLLS, s->ended && s->asked ? PATIENCE_MS : -1);
                if (n < 0)
                        continue;
                if (n == 0)
                        leave_caller(s);
                for (size_t i = 0; i < s->n_flows; i++)
                        flow_advance(&s->flows[i], polls + 2 + i * FLOW_POLLS);
                if (polls[1].revents != 0)
                        hear_caller(s);
                if (polls[0].revents != 0)
                        handle_signal(s);
        }
        return s->code;
}
