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
#define CGROUPS "/sys/fs/cgroup"
#define CONTROL "/.control"             /* below the cgroup of a unit with Delegate=, where systemd runs this program */

enum { REPORT_MAX = 64 * 1024, LINE_MAX_LENGTH = 255, JSON_MAX = 4096, REASON_MAX = 512, COUNTS_MAX = 512, ID_LENGTH = 32 };

/* Codes of a command that was not executed (command.h). */
enum { FIRST_FAILURE = 125, LAST_FAILURE = 127 };

enum kind { LOST, EXITED, SIGNALED, NOT_STARTED };

struct ending {
        enum kind kind;
        bool begun;             /* nspawn was to be executed */
        bool ran;               /* the payload was */
        int number;             /* the code, -1 if there is none; of SIGNALED the signal */
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

/* A number of plain digits, and the text behind it. */
static bool take_number(const char **at, int64_t min, int64_t max, int64_t *ret) {
        int64_t number;
        char *end;

        if (**at < '0' || **at > '9')
                return false;
        errno = 0;
        number = strtoll(*at, &end, 10);
        if (errno != 0 || number < min || number > max)
                return false;
        *at = end;
        *ret = number;
        return true;
}

static bool take_word(const char **at, const char *word) {
        size_t length = strlen(word);

        if (strncmp(*at, word, length) != 0)
                return false;
        *at += length;
        return true;
}

static bool is_invocation(const char *text) {
        return strlen(text) == ID_LENGTH && strspn(text, "0123456789abcdef") == ID_LENGTH;
}

static void read_begin(const char *line, struct ending *e) {
        int64_t started;

        if (!take_word(&line, "begin ") || !take_number(&line, 0, INT64_MAX, &started) || *line != ' ')
                return;
        e->begun = true;
        e->started = started <= e->finished ? started : 0;
        if (is_invocation(line + 1))
                memcpy(e->invocation, line + 1, ID_LENGTH);
}

/* The lines of command.h and nothing else: root in the container has the file open, and may write what it likes. */
static void read_line(const char *line, struct ending *e) {
        int64_t number, error;

        if (take_word(&line, "pid ")) {
                if (take_number(&line, 1, INT_MAX, &number) && *line == 0)
                        e->ran = true;
        } else if (take_word(&line, "exit ")) {
                if (take_number(&line, 0, UINT8_MAX, &number) && *line == 0) {
                        e->kind = EXITED;
                        e->number = (int) number;
                        e->reason[0] = 0;
                }
        } else if (take_word(&line, "signal ")) {
                if (take_number(&line, 1, NSIG - 1, &number) && (strcmp(line, " core") == 0 || strcmp(line, " nocore") == 0)) {
                        e->kind = SIGNALED;
                        e->number = (int) number;
                        e->reason[0] = 0;
                        e->core_dumped = strcmp(line, " core") == 0;
                }
        } else if (take_word(&line, "fail "))
                if (take_number(&line, FIRST_FAILURE, LAST_FAILURE, &number) && take_word(&line, " ") &&
                    take_number(&line, 0, INT_MAX, &error) && take_word(&line, " ")) {
                        e->kind = NOT_STARTED;
                        e->number = (int) number;
                        (void) snprintf(e->reason, sizeof e->reason, "%s", line);
                }
}

/* The last end counts: what the container wrote into the file before is none. */
static void read_lines(char *text, struct ending *e) {
        const char *line;

        while ((line = strsep(&text, "\n")))
                if (text && strlen(line) <= LINE_MAX_LENGTH)    /* only what a line feed ends is whole */
                        read_line(line, e);
}

static ssize_t read_text(int fd, char *ret, size_t size, off_t offset) {
        ssize_t n = RETRY_EINTR(pread(fd, ret, size - 1, offset));

        if (n < 0)
                return -errno;
        for (ssize_t i = 0; i < n; i++)
                if (ret[i] == 0)
                        ret[i] = '?';
        ret[n] = 0;
        return n;
}

/* Reads what init reported: how it began, and the last lines. A container may not put anything else in the place of the
 * file, but then a hand may. */
static int read_report(int folder_fd, struct ending *e) {
        static char text[REPORT_MAX + 1];
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
        n = read_text(fd, text, LINE_MAX_LENGTH + 1, 0);
        if (n < 0)
                return (int) n;
        text[strcspn(text, "\n")] = 0;
        read_begin(text, e);
        n = read_text(fd, text, sizeof text, st.st_size > REPORT_MAX ? st.st_size - REPORT_MAX : 0);
        if (n < 0)
                return (int) n;
        /* Only something that ran can have written so much. */
        e->ran = st.st_size > REPORT_MAX;
        read_lines(text, e);
        return 0;
}

static int signal_by_name(const char *name) {
        for (int number = 1; number < NSIG; number++) {
                const char *known = sigabbrev_np(number);

                if (known && strcmp(known, name) == 0)
                        return number;
        }
        return SIGKILL;
}

/* A file of lines "WORD NUMBER", of which one is wanted; 0 where there is none. */
static int64_t read_count(const char *path, const char *word) {
        _cleanup_close_ int fd = -1;
        char buffer[COUNTS_MAX], *text = buffer, *line;
        int64_t number;

        fd = open(path, O_RDONLY|O_CLOEXEC);
        if (fd < 0 || read_text(fd, buffer, sizeof buffer, 0) < 0)
                return 0;
        while ((line = strsep(&text, "\n"))) {
                const char *at = line;

                if (take_word(&at, word) && take_word(&at, " ") && take_number(&at, 0, INT64_MAX, &number))
                        return number;
        }
        return 0;
}

/* Whether the kernel killed a process of this unit for want of memory. Of a unit with Delegate= systemd does not say. */
static bool ran_out_of_memory(void) {
        char buffer[PATH_MAX], path[2 * PATH_MAX], *text = buffer, *line;
        _cleanup_close_ int fd = -1;

        fd = open("/proc/self/cgroup", O_RDONLY|O_CLOEXEC);
        if (fd < 0 || read_text(fd, buffer, sizeof buffer, 0) < 0)
                return false;
        while ((line = strsep(&text, "\n"))) {
                const char *unit = line;
                size_t length;

                if (!take_word(&unit, "0::/"))
                        continue;
                length = strlen(unit);
                if (length <= strlen(CONTROL) || strcmp(unit + length - strlen(CONTROL), CONTROL) != 0)
                        return false;
                (void) snprintf(path, sizeof path, CGROUPS "/%.*s/memory.events", (int) (length - strlen(CONTROL)), unit);
                return read_count(path, "oom_kill") > 0;
        }
        return false;
}

/* No report of an end: what killed init killed the payload, if there was one. */
static void conclude(struct ending *e, bool is_boot) {
        bool killed = env_is("EXIT_CODE", "killed") || env_is("EXIT_CODE", "dumped");
        bool in_time = !env_is("SERVICE_RESULT", "timeout") && !env_is("SERVICE_RESULT", "oom-kill") &&
                       !env_is("SERVICE_RESULT", "watchdog");
        const char *status = env("EXIT_STATUS");
        int64_t code;

        e->oom = env_is("SERVICE_RESULT", "oom-kill") || ran_out_of_memory();
        if (e->kind != LOST)
                return;
        if (is_boot && e->begun)
                e->ran = true;
        if (!e->ran) {
                e->kind = NOT_STARTED;
                e->number = -1;
                (void) snprintf(e->reason, sizeof e->reason, "the unit failed: %s, exit status %s",
                                env("SERVICE_RESULT"), *status ? status : "unknown");
        } else if (is_boot && !killed && in_time && take_number(&status, 0, UINT8_MAX, &code) && *status == 0) {
                e->kind = EXITED;
                e->number = (int) code;
        } else {
                /* PID 1 of the container is gone, and took all others with it. */
                e->kind = SIGNALED;
                e->number = killed && in_time ? signal_by_name(status) : SIGKILL;
                if (killed && in_time)
                        (void) snprintf(e->reason, sizeof e->reason, "systemd-nspawn was killed");
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
        if (e->kind == SIGNALED)
                fprintf(out, ",\"signal\":%d", e->number);
        else if (e->number >= 0)
                fprintf(out, ",\"code\":%d", e->number);
        if (e->kind == SIGNALED && e->core_dumped)
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
        struct ending ending = { .kind = LOST, .finished = now() };
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
        r = read_report(folder_fd, &ending);
        if (r < 0 && r != -ENOENT)
                fprintf(stderr, "outcome: cannot read '%s/" RUN "': %s\n", argv[2], strerror(-r));
        conclude(&ending, is_boot);
        if (ending.started == 0)
                ending.started = ending.finished;
        if (ending.invocation[0] == 0 && is_invocation(env("INVOCATION_ID")))
                (void) snprintf(ending.invocation, sizeof ending.invocation, "%s", env("INVOCATION_ID"));
        r = keep(folder_fd, &ending);
        if (r < 0) {
                fprintf(stderr, "outcome: cannot write '%s/" RESULT "': %s\n", argv[2], strerror(-r));
                return 1;
        }
        return 0;
}
