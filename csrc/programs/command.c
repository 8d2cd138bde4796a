/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What a child that could not execute the command tells its parent. */
struct failure {
        int code;
        int error;
        char what[128];
};

static int parse_number(const char **text, unsigned long max, unsigned long *ret) {
        char *end;
        unsigned long number;

        if (**text < '0' || **text > '9')
                return -EINVAL;
        errno = 0;
        number = strtoul(*text, &end, 10);
        if (errno != 0 || number > max)
                return -ERANGE;
        *text = end;
        *ret = number;
        return 0;
}

int parse_identity(const char *text, struct identity *ret) {
        struct identity identity = { .set = true };
        unsigned long number;
        char next = ':';

        /* The highest number stands for "no change" in the calls that set ids. */
        if (parse_number(&text, UINT32_MAX - 1, &number) < 0 || *text++ != ':')
                return -EINVAL;
        identity.uid = (uid_t) number;
        if (parse_number(&text, UINT32_MAX - 1, &number) < 0)
                return -EINVAL;
        identity.gid = (gid_t) number;
        while (*text) {
                if (*text++ != next || identity.n_groups == MAX_GROUPS ||
                    parse_number(&text, UINT32_MAX - 1, &number) < 0)
                        return -EINVAL;
                identity.groups[identity.n_groups++] = (gid_t) number;
                next = ',';
        }
        *ret = identity;
        return 0;
}

int parse_fd(const char *text) {
        unsigned long fd;

        if (parse_number(&text, INT_MAX, &fd) < 0 || *text != 0 || fd <= STDERR_FILENO)
                return -EINVAL;
        return (int) fd;
}

void report(int report_fd, const char *format, ...) {
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
                ssize_t written = RETRY_EINTR(write(report_fd, line + at, size - at));

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
static void child_fail(int failure_fd, int code, int error, const char *what) {
        struct failure failure = { .code = code, .error = error };

        (void) snprintf(failure.what, sizeof failure.what, "%s", what);
        (void) !write(failure_fd, &failure, sizeof failure);
        _exit(code);
}

static int take_identity(const struct identity *identity) {
        if (setgroups(identity->n_groups, identity->groups) < 0 || setgid(identity->gid) < 0 ||
            setuid(identity->uid) < 0)
                return -errno;
        return 0;
}

static int take_streams(const int streams[3]) {
        for (int target = 0; target < 3; target++)
                if (streams[target] >= 0 && RETRY_EINTR(dup2(streams[target], target)) < 0)
                        return -errno;
        return 0;
}

__attribute__((noreturn))
static void run_child(const struct command *c, pid_t parent, int failure_fd) {
        int error;

        if (c->pdeathsig) {
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                        child_fail(failure_fd, EXIT_INTERNAL, errno, "prctl");
                if (getppid() != parent)
                        _exit(EXIT_INTERNAL);
        }
        if (take_streams(c->streams) < 0)
                child_fail(failure_fd, EXIT_INTERNAL, errno, "standard streams");
        if (c->terminal) {
                if (setsid() < 0)
                        child_fail(failure_fd, EXIT_INTERNAL, errno, "setsid");
                if (ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
                        child_fail(failure_fd, EXIT_INTERNAL, errno, "controlling terminal");
        }
        if (c->confine) {
                int r = c->confine(c->confine_data);

                if (r < 0)
                        child_fail(failure_fd, EXIT_INTERNAL, -r, "confinement");
        }
        if (c->identity.set && take_identity(&c->identity) < 0)
                child_fail(failure_fd, EXIT_INTERNAL, errno, "user and groups");
        if (c->workdir && chdir(c->workdir) < 0) {
                char what[sizeof ((struct failure *) NULL)->what];

                error = errno;
                (void) snprintf(what, sizeof what, "working directory '%s'", c->workdir);
                child_fail(failure_fd, EXIT_CANNOT_EXECUTE, error, what);
        }
        reset_signals();
        error = execute(c->argv);
        child_fail(failure_fd, error == ENOENT || error == ENOTDIR ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE, error,
                   c->argv[0]);
}

int command_start(const struct command *command, int report_fd, pid_t *ret_pid) {
        _cleanup_close_ int read_fd = -1, write_fd = -1;
        pid_t self = getpid(), pid;
        struct failure failure;
        int fds[2];
        ssize_t n;

        /* exec closes the write end: end of file means that it succeeded. */
        if (pipe2(fds, O_CLOEXEC) < 0) {
                report(report_fd, "fail %d %d pipe: %s\n", EXIT_INTERNAL, errno, strerror(errno));
                return EXIT_INTERNAL;
        }
        read_fd = fds[0];
        write_fd = fds[1];
        pid = fork();
        if (pid < 0) {
                report(report_fd, "fail %d %d fork: %s\n", EXIT_INTERNAL, errno, strerror(errno));
                return EXIT_INTERNAL;
        }
        if (pid == 0)
                run_child(command, self, write_fd);
        write_fd = close_fd(write_fd);

        n = RETRY_EINTR(read(read_fd, &failure, sizeof failure));
        if (n == sizeof failure) {
                report(report_fd, "fail %d %d %s: %s\n",
                       failure.code, failure.error, failure.what, strerror(failure.error));
                return failure.code;
        }
        report(report_fd, "pid %d\n", (int) pid);
        *ret_pid = pid;
        return 0;
}

int report_end(int report_fd, int status) {
        if (WIFSIGNALED(status)) {
                report(report_fd, "signal %d %s\n", WTERMSIG(status), WCOREDUMP(status) ? "core" : "nocore");
                return 128 + WTERMSIG(status);
        }
        report(report_fd, "exit %d\n", WEXITSTATUS(status));
        return WEXITSTATUS(status);
}
