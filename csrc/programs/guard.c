/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands between a supervisor and what it runs:
 *
 *     guard SUPERVISOR-PID CMD ARGS...
 *
 * It runs CMD, an absolute path, as its child and ends as CMD does, by the same signal if it was one. When the
 * supervisor dies it kills everything below itself, then ends. It is for a CMD that traces the others (proot): killed
 * with its supervisor, the tracer would leave processes that run on untraced, with the host's paths instead of their
 * container's.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../util.h"

enum {
        EXIT_INTERNAL = 125,
        PAUSE_MS = 2,
        PATIENCE_MS = 500,
};

struct process {
        pid_t pid;
        pid_t parent;
        bool alive;     /* and not a zombie */
        bool below;     /* us */
};

struct processes {
        struct process *items;
        size_t count;
};

static int fail(const char *what) {
        fprintf(stderr, "guard: %s: %s\n", what, strerror(errno));
        return EXIT_INTERNAL;
}

/* False if there is no such process any more, or it is not for us to see. */
static bool read_process(pid_t pid, struct process *ret) {
        _cleanup_close_ int fd = -1;
        char path[32], line[1024];
        const char *end;
        char state;
        int parent;
        ssize_t n;

        (void) snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
        fd = RETRY_EINTR(open(path, O_RDONLY | O_CLOEXEC));
        if (fd < 0)
                return false;
        n = RETRY_EINTR(read(fd, line, sizeof line - 1));
        if (n <= 0)
                return false;
        line[n] = 0;
        end = strrchr(line, ')');       /* the program's name may hold anything */
        if (!end || sscanf(end + 1, " %c %d", &state, &parent) != 2)
                return false;
        *ret = (struct process) {
                .pid = pid,
                .parent = parent,
                .alive = state != 'Z' && state != 'X',
        };
        return true;
}

static bool list_all(struct processes *ret) {
        _cleanup_free_ struct process *items = NULL;
        size_t count = 0, room = 0;
        struct dirent *entry;
        DIR *dir;

        dir = opendir("/proc");
        if (!dir)
                return false;
        while ((entry = readdir(dir))) {
                if (!isdigit((unsigned char) entry->d_name[0]))
                        continue;
                if (count == room) {
                        struct process *more;

                        room = room ? 2 * room : 256;
                        more = reallocarray(items, room, sizeof *items);
                        if (!more)
                                break;
                        items = more;
                }
                if (read_process((pid_t) atol(entry->d_name), &items[count]))
                        count++;
        }
        (void) closedir(dir);
        *ret = (struct processes) { .items = STEAL_POINTER(items), .count = count };
        return true;
}

static bool is_below(const struct processes *all, pid_t pid) {
        if (pid == getpid())
                return true;
        for (size_t i = 0; i < all->count; i++)
                if (all->items[i].pid == pid)
                        return all->items[i].below;
        return false;
}

static void mark_descendants(struct processes *all) {
        bool found = true;

        while (found) {
                found = false;
                for (size_t i = 0; i < all->count; i++) {
                        struct process *p = &all->items[i];

                        if (!p->below && is_below(all, p->parent))
                                p->below = found = true;
                }
        }
}

/* Gives the number of live descendants, `but` aside, that took the signal. */
static size_t signal_all(const struct processes *all, pid_t but, int number) {
        size_t reached = 0;

        for (size_t i = 0; i < all->count; i++) {
                const struct process *p = &all->items[i];

                if (p->below && p->alive && p->pid != but && kill(p->pid, number) == 0)
                        reached++;
        }
        return reached;
}

/* Returns when nothing is left below us that can be killed.
 *
 * At first the tracer is spared: it has to let those go that die, ends with the last one, and clears its own files away.
 * If that takes too long it is stopped, so that what it traces goes nowhere, and killed after the others: untraced,
 * nothing may run. */
static void kill_everything(pid_t tracer) {
        static const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000 * 1000 };

        for (int round = 0;; round++) {
                _cleanup_free_ struct process *items = NULL;
                struct processes all = {};
                bool patient = round < PATIENCE_MS / PAUSE_MS;
                size_t reached;
                pid_t ended;

                if (tracer > 0 && !patient)
                        (void) kill(tracer, SIGSTOP);
                if (!list_all(&all))
                        return;
                items = all.items;
                mark_descendants(&all);
                /* Stopped first, so that none of them forks away while the others are being killed. */
                (void) signal_all(&all, tracer, SIGSTOP);
                reached = signal_all(&all, tracer, SIGKILL);
                if (tracer > 0 && !patient)
                        (void) kill(tracer, SIGKILL);
                while ((ended = waitpid(-1, NULL, WNOHANG)) > 0)
                        if (ended == tracer)
                                tracer = 0;
                if (reached == 0 && tracer == 0)
                        return;
                (void) nanosleep(&pause, NULL);
        }
}

__attribute__((noreturn))
static void run_child(pid_t guard, const sigset_t *mask, char **argv) {
        /* What kills us kills the tracer as well; the rest is left to the supervisor, which adopts it. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != guard)
                _exit(EXIT_INTERNAL);
        (void) sigprocmask(SIG_SETMASK, mask, NULL);
        (void) execv(argv[0], argv);
        _exit(fail(argv[0]));
}

/* Whoever looks for what the supervisor left goes by a variable (VOLT_WORKLOAD_ID), and must not find us. */
static void hide_environment(void) {
        for (char **variable = environ; *variable; variable++)
                memset(*variable, 0, strlen(*variable));
}

/* Ends as the child did. */
static int follow(int status) {
        sigset_t its_own;

        if (!WIFSIGNALED(status))
                return WEXITSTATUS(status);
        (void) prctl(PR_SET_DUMPABLE, 0);       /* one core is enough */
        (void) signal(WTERMSIG(status), SIG_DFL);
        (void) raise(WTERMSIG(status));
        sigemptyset(&its_own);
        sigaddset(&its_own, WTERMSIG(status));
        (void) sigprocmask(SIG_UNBLOCK, &its_own, NULL);
        return 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
        sigset_t all, before;
        pid_t self = getpid(), supervisor, pid;

        if (argc < 3 || (supervisor = (pid_t) atol(argv[1])) <= 0) {
                fprintf(stderr, "usage: guard SUPERVISOR-PID CMD ARGS...\n");
                return EXIT_INTERNAL;
        }
        (void) signal(SIGCHLD, SIG_DFL);
        sigfillset(&all);
        (void) sigprocmask(SIG_SETMASK, &all, &before);
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
                return fail("prctl");
        pid = fork();
        if (pid < 0)
                return fail("fork");
        if (pid == 0)
                run_child(self, &before, argv + 2);
        /* The streams are the command's: at its end they must have no other holder. */
        (void) syscall(SYS_close_range, 0U, ~0U, 0U);
        hide_environment();

        for (;;) {
                int status;
                pid_t ended;

                while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
                        if (ended == pid)
                                return follow(status);
                /* Also what died before we asked to be told. */
                if (getppid() != supervisor) {
                        kill_everything(pid);
                        return EXIT_INTERNAL;
                }
                (void) sigwaitinfo(&all, NULL);
        }
}
