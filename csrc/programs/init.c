/* SPDX-License-Identifier: Apache-2.0
 *
 * The first process of a workload's payload:
 *
 *     init --status-fd N [--pdeathsig] [--setsid-tty] [--deny-untranslated] [--workdir DIR] [--env NAME[=VALUE]]...
 *          -- CMD ARGS...
 *
 * It runs CMD as its child, adopts and reaps whatever loses its parent, passes signals on, and ends as soon as CMD does,
 * with CMD's exit code or 128 + signal. Descriptor N, which CMD does not inherit, gets lines of text:
 *
 *     pid PID                       CMD was executed
 *     fail CODE ERRNO TEXT          it was not; init exits with CODE: 127 not found, 126 not executable (or no such
 *                                   DIR), 125 anything else
 *     exit CODE                     CMD ended
 *     signal NUMBER core|nocore     a signal ended CMD
 *
 * --env sets a variable of CMD's environment, or without a value removes it: for what would act on the programs in
 * between, as LD_PRELOAD does, and for what is meant for those alone. Others can see it, so it is not for secrets.
 *
 * The lines are needed because the exit status alone does not tell 127 of CMD from 127 of init, nor a signal from an
 * exit with 128 + n, and because a tracer in between (proot) loses the signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"
#include "untranslated.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum {
        EXIT_INTERNAL = 125,
        EXIT_CANNOT_EXECUTE = 126,
        EXIT_NOT_FOUND = 127,
};

struct options {
        int status_fd;
        bool pdeathsig;
        bool setsid_tty;
        bool deny_untranslated;
        const char *workdir;
        char **argv;
};

/* What a child that could not execute the command tells its parent. */
struct failure {
        int code;
        int error;
        char what[128];
};

static int usage(const char *problem) {
        fprintf(stderr,
                "init: %s\n"
                "usage: init --status-fd N [--pdeathsig] [--setsid-tty] [--deny-untranslated] [--workdir DIR] "
                "[--env NAME[=VALUE]]... -- CMD ARGS...\n", problem);
        return EXIT_INTERNAL;
}

static int parse_fd(const char *text) {
        char *end;
        long fd;

        errno = 0;
        fd = strtol(text, &end, 10);
        /* 0 to 2 are the command's own. */
        return errno == 0 && end != text && *end == 0 && fd > 2 && fd <= INT_MAX ? (int) fd : -1;
}

static int parse_options(char **args, struct options *ret) {
        struct options o = { .status_fd = -1 };

        for (; *args && strcmp(*args, "--") != 0; args++) {
                if (strcmp(*args, "--pdeathsig") == 0)
                        o.pdeathsig = true;
                else if (strcmp(*args, "--setsid-tty") == 0)
                        o.setsid_tty = true;
                else if (strcmp(*args, "--deny-untranslated") == 0)
                        o.deny_untranslated = true;
                else if (strcmp(*args, "--workdir") == 0 && args[1])
                        o.workdir = *++args;
                else if (strcmp(*args, "--env") == 0 && args[1]) {
                        if (putenv(*++args) != 0)       /* which removes it if there is no "=" */
                                return usage("--env cannot be set");
                } else if (strcmp(*args, "--status-fd") == 0 && args[1]) {
                        o.status_fd = parse_fd(*++args);
                        if (o.status_fd < 0)
                                return usage("--status-fd needs a number above 2");
                } else
                        return usage("unknown option or missing value");
        }
        if (o.status_fd < 0)
                return usage("--status-fd is missing");
        if (!args[0] || !args[1])
                return usage("no command after --");
        o.argv = args + 1;
        *ret = o;
        return 0;
}

/* A supervisor that is gone reads nothing: there is nobody to tell about a failed write. */
__attribute__((format(printf, 2, 3)))
static void report(int status_fd, const char *format, ...) {
        char line[256];
        size_t size;
        va_list args;
        int n;

        va_start(args, format);
        n = vsnprintf(line, sizeof line, format, args);
        va_end(args);
        if (n < 0)
                return;
        size = (size_t) n < sizeof line ? (size_t) n : sizeof line - 1;
        for (size_t i = 0; i < size; i++)
                if ((unsigned char) line[i] < ' ')      /* a command's name may hold anything */
                        line[i] = '?';
        line[size - 1] = '\n';
        for (size_t at = 0; at < size;) {
                ssize_t written = RETRY_EINTR(write(status_fd, line + at, size - at));

                if (written < 0)
                        return;
                at += (size_t) written;
        }
}

static bool is_regular(const char *file) {
        struct stat st;

        return stat(file, &st) == 0 && S_ISREG(st.st_mode);
}

/* Executes by the rules of execvpe(), save that a file of unknown format is not given to /bin/sh, and that a directory
 * of PATH that may not be searched is passed over as shells do. Gives an errno. */
static int execute(char **argv) {
        const char *path = getenv("PATH"), *end;
        bool denied = false;
        char file[PATH_MAX];

        if (strchr(argv[0], '/') || argv[0][0] == 0) {
                execv(argv[0], argv);
                return errno;
        }
        for (path = path ? path : DEFAULT_PATH; ; path = end + 1) {
                int n;

                end = strchrnul(path, ':');
                n = snprintf(file, sizeof file, "%.*s%s%s", (int) (end - path), path, end > path ? "/" : "./", argv[0]);
                if (n > 0 && (size_t) n < sizeof file) {
                        execv(file, argv);
                        if (errno == EACCES)
                                denied = denied || is_regular(file);
                        else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != ENAMETOOLONG)
                                return errno;
                }
                if (*end == 0)
                        return denied ? EACCES : ENOENT;
        }
}

static void reset_signals(void) {
        struct sigaction standard = { .sa_handler = SIG_DFL };
        sigset_t none;

        for (int number = 1; number < NSIG; number++)
                (void) sigaction(number, &standard, NULL);     /* SIGKILL, SIGSTOP and libc's own refuse */
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Never comes back from the child's side. */
__attribute__((noreturn))
static void child_fail(int report_fd, int code, int error, const char *what) {
        struct failure failure = { .code = code, .error = error };

        (void) snprintf(failure.what, sizeof failure.what, "%s", what);
        (void) !write(report_fd, &failure, sizeof failure);
        _exit(code);
}

__attribute__((noreturn))
static void run_child(const struct options *o, pid_t parent, int report_fd) {
        int error;

        if (o->pdeathsig) {
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                        child_fail(report_fd, EXIT_INTERNAL, errno, "prctl");
                if (getppid() != parent)
                        _exit(EXIT_INTERNAL);
        }
        if (o->setsid_tty) {
                if (setsid() < 0)
                        child_fail(report_fd, EXIT_INTERNAL, errno, "setsid");
                if (ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
                        child_fail(report_fd, EXIT_INTERNAL, errno, "controlling terminal");
        }
        if (o->workdir && chdir(o->workdir) < 0) {
                char what[sizeof ((struct failure *) NULL)->what];

                error = errno;
                (void) snprintf(what, sizeof what, "working directory '%s'", o->workdir);
                child_fail(report_fd, EXIT_CANNOT_EXECUTE, error, what);
        }
        if (o->deny_untranslated) {
                int r = deny_untranslated();

                if (r < 0)
                        child_fail(report_fd, EXIT_INTERNAL, -r, "seccomp");
        }
        reset_signals();
        error = execute(o->argv);
        child_fail(report_fd, error == ENOENT || error == ENOTDIR ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE, error,
                   o->argv[0]);
}

/* Starts the command and waits until it is executed. Gives 0, or the code to exit with after a failure was reported. */
static int start(const struct options *o, pid_t *ret_pid) {
        _cleanup_close_ int read_fd = -1, write_fd = -1;
        pid_t self = getpid(), pid;
        struct failure failure;
        int fds[2];
        ssize_t n;

        /* exec closes the write end: end of file means that it succeeded. */
        if (pipe2(fds, O_CLOEXEC) < 0) {
                report(o->status_fd, "fail %d %d pipe: %s\n", EXIT_INTERNAL, errno, strerror(errno));
                return EXIT_INTERNAL;
        }
        read_fd = fds[0];
        write_fd = fds[1];
        pid = fork();
        if (pid < 0) {
                report(o->status_fd, "fail %d %d fork: %s\n", EXIT_INTERNAL, errno, strerror(errno));
                return EXIT_INTERNAL;
        }
        if (pid == 0)
                run_child(o, self, write_fd);
        write_fd = close_fd(write_fd);

        n = RETRY_EINTR(read(read_fd, &failure, sizeof failure));
        if (n == sizeof failure) {
                report(o->status_fd, "fail %d %d %s: %s\n",
                       failure.code, failure.error, failure.what, strerror(failure.error));
                return failure.code;
        }
        report(o->status_fd, "pid %d\n", (int) pid);
        *ret_pid = pid;
        return 0;
}

static int report_end(int status_fd, int status) {
        if (WIFSIGNALED(status)) {
                report(status_fd, "signal %d %s\n", WTERMSIG(status), WCOREDUMP(status) ? "core" : "nocore");
                return 128 + WTERMSIG(status);
        }
        report(status_fd, "exit %d\n", WEXITSTATUS(status));
        return WEXITSTATUS(status);
}

/* What a terminal sends goes to its whole foreground process group: the command has it already if it is in ours. */
static bool came_to_the_whole_group(const siginfo_t *info, pid_t pid) {
        return info->si_code == SI_KERNEL && info->si_signo != SIGHUP && getpgid(pid) == getpgrp();
}

static int supervise(int status_fd, const sigset_t *signals, pid_t pid) {
        for (;;) {
                siginfo_t info;
                int status;
                pid_t ended;

                if (sigwaitinfo(signals, &info) < 0)
                        continue;
                if (info.si_signo != SIGCHLD) {
                        if (!came_to_the_whole_group(&info, pid))
                                (void) kill(pid, info.si_signo);
                        continue;
                }
                /* One SIGCHLD may stand for many children. */
                while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
                        if (ended == pid)
                                return report_end(status_fd, status);
        }
}

/* PR_SET_PDEATHSIG says nothing of a parent that died before the call; its end of the status pipe does. */
static bool supervisor_is_gone(int status_fd) {
        struct pollfd p = { .fd = status_fd };

        return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP));
}

int main(int argc, char **argv) {
        static const int forwarded[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT };
        struct options o = {};
        sigset_t signals;
        pid_t pid = 0;
        int code;

        (void) argc;
        code = parse_options(argv + 1, &o);
        if (code != 0)
                return code;
        if (fcntl(o.status_fd, F_SETFD, FD_CLOEXEC) < 0)
                return usage("--status-fd is not open");

        /* Ignored by the caller, SIGCHLD would never come, and children would vanish unreaped. */
        (void) signal(SIGCHLD, SIG_DFL);
        (void) signal(SIGPIPE, SIG_IGN);
        sigemptyset(&signals);
        sigaddset(&signals, SIGCHLD);
        for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0]; i++)
                sigaddset(&signals, forwarded[i]);
        (void) sigprocmask(SIG_SETMASK, &signals, NULL);

        (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (o.pdeathsig) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (supervisor_is_gone(o.status_fd))
                        return EXIT_INTERNAL;
        }

        code = start(&o, &pid);
        if (code != 0)
                return code;
        return supervise(o.status_fd, &signals, pid);
}
