/* SPDX-License-Identifier: Apache-2.0
 *
 * ExecStopPost= of a container's unit: keeps how the run ended.
 *
 *     outcome --folder DIR [--boot]
 *
 * Makes `outcome.json` in the container's folder (docs/formats.md) of the report in `run` there, and of what systemd
 * says of the main process in SERVICE_RESULT, EXIT_CODE and EXIT_STATUS (systemd.exec(5)), and then removes `run`: where
 * that exists though the unit is not active, nobody saw the end. systemd itself forgets a unit that ended well.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../util.h"

#define RUN "run"
#define RESULT "outcome.json"
#define TEMPORARY ".outcome.json.new"

enum { REPORT_MAX = 64 * 1024, JSON_MAX = 4096, REASON_MAX = 512, ID_LENGTH = 32 };

enum kind { LOST, EXITED, SIGNALED, NOT_STARTED };

struct ending {
        enum kind kind;
        bool begun;             /* nspawn was to be executed */
        bool ran;               /* the payload was */
        bool has_code;
        int code;
        int signal;
        bool core_dumped;
        bool oom;
        char reason[REASON_MAX];
        int64_t started, finished;
        char invocation[ID_LENGTH + 1];
};

static const char *const kind_names[] = {
        [LOST] = "lost",
        [EXITED] = "exited",
        [SIGNALED] = "signaled",
        [NOT_STARTED] = "not-started",
};

static const char *env(const char *name) {
        const char *value = getenv(name);

        return value ? value : "";
}

static bool env_is(const char *name, const char *value) {
        return strcmp(env(name), value) == 0;
}

static int64_t now(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Reads what init reported. A container may not put anything else in its place, but then a hand may. */
static int read_report(int folder_fd, char *ret, size_t size) {
        _cleanup_close_ int fd = -1;
        struct stat st;
        ssize_t n;

        fd = openat(folder_fd, RUN, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        n = RETRY_EINTR(pread(fd, ret, size - 1, 0));
        if (n < 0)
                return -errno;
        ret[n] = 0;
        return 0;
}

static void read_line(const char *line, struct ending *e) {
        int code, number, error, at = 0;
        char core[8];

        if (sscanf(line, "begin %ld %32[0-9a-f]", &e->started, e->invocation) >= 1)
                e->begun = true;
        else if (strncmp(line, "pid ", strlen("pid ")) == 0)
                e->ran = true;
        else if (sscanf(line, "exit %d", &code) == 1) {
                e->kind = EXITED;
                e->has_code = true;
                e->code = code;
        } else if (sscanf(line, "signal %d %7s", &number, core) == 2) {
                e->kind = SIGNALED;
                e->signal = number;
                e->core_dumped = strcmp(core, "core") == 0;
        } else if (sscanf(line, "fail %d %d %n", &code, &error, &at) == 2 && at > 0) {
                e->kind = NOT_STARTED;
                e->has_code = true;
                e->code = code;
                (void) snprintf(e->reason, sizeof e->reason, "%s", line + at);
        }
}

static void read_lines(char *text, struct ending *e) {
        char *rest = text;
        const char *line;

        while ((line = strsep(&rest, "\n")))
                read_line(line, e);
}

static int signal_by_name(const char *name) {
        for (int number = 1; number < NSIG; number++) {
                const char *known = sigabbrev_np(number);

                if (known && strcmp(known, name) == 0)
                        return number;
        }
        return SIGKILL;
}

/* No report of an end: what killed init killed the payload, unless nspawn never came so far. */
static void conclude(struct ending *e, bool is_boot) {
        bool killed = env_is("EXIT_CODE", "killed") || env_is("EXIT_CODE", "dumped");
        bool in_time = !env_is("SERVICE_RESULT", "timeout") && !env_is("SERVICE_RESULT", "oom-kill") &&
                       !env_is("SERVICE_RESULT", "watchdog");

        e->oom = env_is("SERVICE_RESULT", "oom-kill");
        if (e->kind != LOST)
                return;
        if (killed || !in_time) {
                e->kind = SIGNALED;
                e->signal = killed && in_time ? signal_by_name(env("EXIT_STATUS")) : SIGKILL;
                if (killed && in_time)
                        (void) snprintf(e->reason, sizeof e->reason, "systemd-nspawn was killed");
        } else if (is_boot && e->begun && *env("EXIT_STATUS")) {
                e->kind = EXITED;
                e->has_code = true;
                e->code = atoi(env("EXIT_STATUS"));
        } else if (e->ran) {
                /* PID 1 of the container is gone, and took all others with it. */
                e->kind = SIGNALED;
                e->signal = SIGKILL;
        } else {
                e->kind = NOT_STARTED;
                (void) snprintf(e->reason, sizeof e->reason, "the unit failed: %s, exit status %s",
                                env("SERVICE_RESULT"), *env("EXIT_STATUS") ? env("EXIT_STATUS") : "unknown");
        }
}

/* Control characters and bytes that are no UTF-8 become '?': a reason is for people. */
static void put_escaped(FILE *out, const char *text) {
        for (; *text; text++) {
                unsigned char c = (unsigned char) *text;

                if (c == '"' || c == '\\')
                        fputc('\\', out);
                fputc(c < ' ' || c > '~' ? '?' : c, out);
        }
}

static void put_ending(FILE *out, const struct ending *e) {
        fputs("{\"schema\":1", out);
        if (e->has_code)
                fprintf(out, ",\"code\":%d", e->code);
        if (e->signal > 0)
                fprintf(out, ",\"signal\":%d", e->signal);
        if (e->core_dumped)
                fputs(",\"core_dumped\":true", out);
        if (e->oom)
                fputs(",\"oom\":true", out);
        fprintf(out, ",\"result\":\"%s\"", kind_names[e->kind]);
        if (e->reason[0]) {
                fputs(",\"reason\":\"", out);
                put_escaped(out, e->reason);
                fputc('"', out);
        }
        fprintf(out, ",\"started\":%ld,\"finished\":%ld,\"invocation\":\"%s\"}\n",
                (long) e->started, (long) e->finished, e->invocation);
}

static int write_durably(int folder_fd, const char *data, size_t size) {
        _cleanup_close_ int fd = -1;
        ssize_t n;

        fd = openat(folder_fd, TEMPORARY, O_WRONLY|O_CREAT|O_TRUNC|O_NOFOLLOW|O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        n = RETRY_EINTR(write(fd, data, size));
        if (n < 0)
                return -errno;
        if ((size_t) n != size)
                return -ENOSPC;
        if (fsync(fd) < 0 || renameat(folder_fd, TEMPORARY, folder_fd, RESULT) < 0 || fsync(folder_fd) < 0)
                return -errno;
        return 0;
}

static int keep(int folder_fd, const struct ending *e) {
        char json[JSON_MAX];
        FILE *out = fmemopen(json, sizeof json, "w");
        long size;
        int r;

        if (!out)
                return -errno;
        put_ending(out, e);
        (void) fflush(out);
        size = ftell(out);
        (void) fclose(out);
        r = write_durably(folder_fd, json, (size_t) size);
        if (r == -ENOSPC || r == -EDQUOT) {
                /* Their blocks are what a full disk may lack; how an earlier run ended would be taken for this one's. */
                (void) unlinkat(folder_fd, RUN, 0);
                (void) unlinkat(folder_fd, RESULT, 0);
                r = write_durably(folder_fd, json, (size_t) size);
        }
        if (r < 0) {
                (void) unlinkat(folder_fd, TEMPORARY, 0);
                return r;
        }
        return unlinkat(folder_fd, RUN, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int main(int argc, char **argv) {
        static char report[REPORT_MAX];
        struct ending ending = { .kind = LOST };
        _cleanup_close_ int folder_fd = -1;
        bool is_boot = argc == 4 && strcmp(argv[3], "--boot") == 0;
        int r;

        if ((argc != 3 && !is_boot) || strcmp(argv[1], "--folder") != 0) {
                fprintf(stderr, "usage: outcome --folder DIR [--boot]\n");
                return 2;
        }
        folder_fd = open(argv[2], O_RDONLY|O_DIRECTORY|O_CLOEXEC);
        if (folder_fd < 0) {
                fprintf(stderr, "outcome: cannot open '%s': %s\n", argv[2], strerror(errno));
                return 1;
        }
        r = read_report(folder_fd, report, sizeof report);
        if (r < 0 && r != -ENOENT)
                fprintf(stderr, "outcome: cannot read '%s/" RUN "': %s\n", argv[2], strerror(-r));
        if (r == 0)
                read_lines(report, &ending);
        ending.finished = now();
        conclude(&ending, is_boot);
        if (ending.started == 0)
                ending.started = ending.finished;
        if (ending.invocation[0] == 0 && strlen(env("INVOCATION_ID")) == ID_LENGTH)
                (void) snprintf(ending.invocation, sizeof ending.invocation, "%s", env("INVOCATION_ID"));
        r = keep(folder_fd, &ending);
        if (r < 0) {
                fprintf(stderr, "outcome: cannot write '%s/" RESULT "': %s\n", argv[2], strerror(-r));
                return 1;
        }
        return 0;
}
