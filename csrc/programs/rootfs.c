/* SPDX-License-Identifier: Apache-2.0
 *
 * ExecStart= of a container's unit: prepares what systemd-nspawn needs, and becomes it.
 *
 *     rootfs --folder DIR --lower DIR [--ids BASE:COUNT] [--directory PATH]... [--file PATH]... [--attach SOCKET]
 *            [--log-as IDENTIFIER] [--unit UNIT] [--tty] [--default NAME=VALUE]... [--boot] -- NSPAWN ARGS...
 *
 * 1. The file `run` in the folder says that a run has begun; `init` reports its end there, `outcome` removes it.
 * 2. The root is an overlay above --lower (overlay.h), mounted where only nspawn sees it. What nspawn needs to be there
 *    is made in it: the targets of mounts, and /usr, without which it takes a tree for no operating system.
 * 3. If somebody listens at SOCKET, he gives the standard streams (see attach()); else they are the journal's, standard
 *    error as a stream of its own with a priority of its own, by which readers tell the two apart.
 * 4. `init` gets the report and the environment as descriptors (handover.h). The latter is --default and what the file
 *    `env` in the folder holds: NAME=VALUE, each ended by a null byte. It never becomes the environment of nspawn, on
 *    which LD_PRELOAD and its like would act, save with --boot, where it goes to the container's own init by --setenv.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../util.h"
#include "handover.h"
#include "overlay.h"

#define JOURNAL "/run/systemd/journal/stdout"
#define PATH_OF_PROGRAMS "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum { PRIORITY_ERROR = 3, PRIORITY_INFO = 6, ENVIRONMENT_MAX = 4 * 1024 * 1024, ARGUMENTS_MAX = 4096, ABOVE_HANDED = 10 };
enum { N_HANDED = HANDED_CALLER - HANDED_REPORT + 1 };

struct options {
        const char *folder, *lower, *attach, *log_as, *unit;
        struct id_range ids;
        bool tty, boot;
        char **first, **command;        /* options that may be repeated are read where they stand */
};

static int fail(const char *what, int error) {
        fprintf(stderr, "rootfs: %s: %s\n", what, strerror(-error));
        return EXIT_FAILURE;
}

static int usage(const char *problem) {
        fprintf(stderr, "rootfs: %s\n"
                "usage: rootfs --folder DIR --lower DIR [--ids BASE:COUNT] [--directory PATH]... [--file PATH]...\n"
                "              [--attach SOCKET] [--log-as IDENTIFIER] [--unit UNIT] [--tty] [--default NAME=VALUE]...\n"
                "              [--boot] -- NSPAWN ARGS...\n", problem);
        return EXIT_FAILURE;
}

static int parse_options(char **args, struct options *ret) {
        struct options o = { .unit = "", .first = args };

        for (; *args && strcmp(*args, "--") != 0; args++) {
                if (strcmp(*args, "--tty") == 0)
                        o.tty = true;
                else if (strcmp(*args, "--boot") == 0)
                        o.boot = true;
                else if (!args[1])
                        return usage("missing value");
                else if (strcmp(*args, "--folder") == 0)
                        o.folder = *++args;
                else if (strcmp(*args, "--lower") == 0)
                        o.lower = *++args;
                else if (strcmp(*args, "--attach") == 0)
                        o.attach = *++args;
                else if (strcmp(*args, "--log-as") == 0)
                        o.log_as = *++args;
                else if (strcmp(*args, "--unit") == 0)
                        o.unit = *++args;
                else if (strcmp(*args, "--ids") == 0) {
                        if (sscanf(*++args, "%u:%u", &o.ids.base, &o.ids.count) != 2 || o.ids.count == 0)
                                return usage("--ids needs BASE:COUNT");
                } else if (strcmp(*args, "--directory") == 0 || strcmp(*args, "--file") == 0 ||
                           strcmp(*args, "--default") == 0)
                        args++;
                else
                        return usage("unknown option");
        }
        if (!o.folder || !o.lower)
                return usage("--folder and --lower are needed");
        if (!args[0] || !args[1])
                return usage("no command after --");
        o.command = args + 1;
        *ret = o;
        return 0;
}

static int begin_run(int folder_fd, int *ret_fd) {
        _cleanup_close_ int fd = -1;
        const char *invocation = getenv("INVOCATION_ID");
        struct timespec now;
        int n;

        (void) clock_gettime(CLOCK_REALTIME, &now);
        fd = openat(folder_fd, "run", O_WRONLY|O_CREAT|O_TRUNC|O_APPEND|O_NOFOLLOW|O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        n = dprintf(fd, "begin %lld %s\n", (long long) now.tv_sec * 1000000000 + now.tv_nsec, invocation ? invocation : "-");
        if (n < 0)
                return -errno;
        *ret_fd = steal_fd(&fd);
        return 0;
}

static int make_targets(int root_fd, const struct options *o) {
        int r = make_target(root_fd, "/usr", true);

        for (char **arg = o->first; r >= 0 && arg < o->command - 1; arg++)
                if (strcmp(*arg, "--directory") == 0 || strcmp(*arg, "--file") == 0) {
                        r = make_target(root_fd, arg[1], strcmp(*arg, "--directory") == 0);
                        if (r < 0)
                                fprintf(stderr, "rootfs: cannot make '%s' in the container: %s\n", arg[1], strerror(-r));
                        arg++;
                }
        return r;
}

static int connect_to(int type, const char *path, int *ret_fd) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -1, path_fd = -1;

        /* A name of at most 107 bytes for a path of any length. */
        path_fd = open(path, O_PATH|O_CLOEXEC);
        if (path_fd < 0)
                return -errno;
        (void) snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", path_fd);
        fd = socket(AF_UNIX, type|SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof address) < 0)
                return -errno;
        *ret_fd = steal_fd(&fd);
        return 0;
}

/* Asks whoever listens for what shall be the standard streams. One message (SOCK_SEQPACKET) comes, the text of
 * HANDED_FORMAT with the three descriptors beside it; "ok" goes back, and the connection to `init`. Nobody listens in a
 * detached start: then nothing changes. */
static int attach(const char *path, struct handed_settings *settings, int *ret_caller_fd) {
        union {
                char bytes[CMSG_SPACE(3 * sizeof(int))];
                struct cmsghdr align;
        } control;
        char text[256];
        struct iovec part = { .iov_base = text, .iov_len = sizeof text - 1 };
        struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        struct timeval limit = { .tv_sec = 10 };
        _cleanup_close_ int fd = -1;
        struct cmsghdr *header;
        int fds[3];
        ssize_t n;

        if (connect_to(SOCK_SEQPACKET, path, &fd) < 0)
                return 0;
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        n = RETRY_EINTR(recvmsg(fd, &message, MSG_CMSG_CLOEXEC));
        if (n < 0)
                return -errno;
        header = CMSG_FIRSTHDR(&message);
        if (n == 0 || !header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof fds))
                return -EPROTO;
        memcpy(fds, CMSG_DATA(header), sizeof fds);
        text[n] = 0;
        if (parse_handed_settings(text, settings) < 0)
                return -EPROTO;
        for (int i = 0; i < 3; i++) {
                if (dup2(fds[i], i) < 0)
                        return -errno;
                (void) close_fd(fds[i]);
        }
        if (send(fd, "ok", 2, MSG_NOSIGNAL) < 0)
                return -errno;
        *ret_caller_fd = steal_fd(&fd);
        return 0;
}

/* What sd_journal_stream_fd(3) does. */
static int open_journal(const struct options *o, int priority, int *ret_fd) {
        _cleanup_close_ int fd = -1;
        int r;

        r = connect_to(SOCK_STREAM, JOURNAL, &fd);
        if (r < 0)
                return r;
        if (shutdown(fd, SHUT_RD) < 0 || dprintf(fd, "%s\n%s\n%d\n0\n0\n0\n0\n", o->log_as, o->unit, priority) < 0)
                return -errno;
        *ret_fd = steal_fd(&fd);
        return 0;
}

/* Standard error gets its own stream; with somebody attached, the journal comes second to him. */
static int open_logs(const struct options *o, bool attached, int *ret_out, int *ret_err) {
        int r, err = -1;

        r = open_journal(o, PRIORITY_ERROR, &err);
        if (r < 0)
                return r;
        if (attached) {
                *ret_err = err;
                return open_journal(o, PRIORITY_INFO, ret_out);
        }
        r = dup2(err, STDERR_FILENO) < 0 ? -errno : 0;
        (void) close_fd(err);
        return r;
}

static int open_environment(int folder_fd, size_t *ret_size) {
        struct stat st;
        int fd = openat(folder_fd, "env", O_RDONLY|O_NOFOLLOW|O_CLOEXEC);

        *ret_size = 0;
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || st.st_size > ENVIRONMENT_MAX) {
                (void) close_fd(fd);
                return -EFBIG;
        }
        *ret_size = (size_t) st.st_size;
        return fd;
}

static int write_string(int fd, const char *text) {
        size_t size = strlen(text) + 1;

        return write(fd, text, size) == (ssize_t) size ? 0 : -EIO;
}

/* The memfd that init reads. */
static int make_environment(int folder_fd, const struct options *o, const struct handed_settings *s, int *ret_fd) {
        _cleanup_close_ int fd = -1, env_fd = -1;
        char line[128];
        size_t left;
        int r;

        fd = memfd_create("volt-environment", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        (void) snprintf(line, sizeof line, HANDED_FORMAT, s->attached, s->terminal, s->rows, s->columns);
        r = write_string(fd, line);
        for (char **arg = o->first; r >= 0 && arg < o->command - 1; arg++)
                if (strcmp(*arg, "--default") == 0)
                        r = write_string(fd, *++arg);
        if (r < 0)
                return r;
        env_fd = open_environment(folder_fd, &left);
        if (env_fd < 0 && env_fd != -ENOENT)
                return env_fd;
        while (env_fd >= 0 && left > 0) {
                ssize_t n = RETRY_EINTR(sendfile(fd, env_fd, NULL, left));

                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                left -= (size_t) n;
        }
        *ret_fd = steal_fd(&fd);
        return 0;
}

/* For a container's own init: by nspawn's environment, so that no value stands in its command line. */
static int export_environment(int folder_fd, char **command, char ***ret_command) {
        static char *extended[ARGUMENTS_MAX];
        _cleanup_close_ int fd = -1;
        size_t size, used = 0;
        char *text, *at;

        extended[used++] = *command++;
        fd = open_environment(folder_fd, &size);
        if (fd < 0 && fd != -ENOENT)
                return fd;
        if (fd >= 0 && size > 0) {
                text = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_PRIVATE, fd, 0);
                if (text == MAP_FAILED)
                        return -errno;
                if (text[size - 1] != 0)
                        return -EBADMSG;
                for (at = text; at < text + size; at += strlen(at) + 1) {
                        if (used >= ARGUMENTS_MAX / 2)
                                return -E2BIG;
                        if (putenv(at) != 0 || asprintf(&extended[used++], "--setenv=%.*s", (int) strcspn(at, "="), at) < 0)
                                return -ENOMEM;
                }
        }
        while (*command)
                if (used + 1 < ARGUMENTS_MAX)
                        extended[used++] = *command++;
                else
                        return -E2BIG;
        *ret_command = extended;
        return 0;
}

/* Puts the descriptors where socket activation has them. */
static int hand_over(const int *fds, int n_fds) {
        char text[32];
        int high[N_HANDED];

        for (int i = 0; i < n_fds; i++) {
                high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, ABOVE_HANDED);
                if (high[i] < 0)
                        return -errno;
        }
        for (int i = 0; i < n_fds; i++)
                if (dup2(high[i], HANDED_REPORT + i) < 0)
                        return -errno;
        (void) snprintf(text, sizeof text, "%d", (int) getpid());
        if (setenv("LISTEN_PID", text, 1) < 0)
                return -errno;
        (void) snprintf(text, sizeof text, "%d", n_fds);
        return setenv("LISTEN_FDS", text, 1) < 0 ? -errno : 0;
}

int main(int argc, char **argv) {
        struct handed_settings settings = {};
        struct options o;
        int folder_fd, root_fd, fds[N_HANDED] = { -1, -1, -1, -1, -1 }, r;

        (void) argc;
        r = parse_options(argv + 1, &o);
        if (r != 0)
                return r;
        settings.terminal = o.tty;
        /* First: a descriptor keeps to the mounts of the namespace in which it was opened. */
        r = enter_private_namespace();
        if (r < 0)
                return fail("cannot leave the host's mount namespace", r);
        folder_fd = open(o.folder, O_RDONLY|O_DIRECTORY|O_CLOEXEC);
        if (folder_fd < 0)
                return fail(o.folder, -errno);
        r = begin_run(folder_fd, &fds[0]);
        if (r < 0)
                return fail("cannot write 'run'", r);
        r = mount_overlay(folder_fd, o.lower, o.ids.count > 0 ? &o.ids : NULL, &root_fd);
        if (r < 0)
                return fail("cannot mount the container's root", r);
        r = make_targets(root_fd, &o);
        if (r < 0)
                return fail("cannot prepare the container's root", r);
        (void) close_fd(root_fd);

        r = o.attach ? attach(o.attach, &settings, &fds[4]) : 0;
        if (r < 0)
                return fail("cannot take over the caller's streams", r);
        if (o.log_as) {
                r = open_logs(&o, settings.attached, &fds[2], &fds[3]);
                if (r < 0)
                        return fail("cannot reach the journal", r);
        }
        if (o.boot)
                r = export_environment(folder_fd, o.command, &o.command);
        else {
                r = make_environment(folder_fd, &o, &settings, &fds[1]);
                if (r >= 0)
                        r = hand_over(fds, settings.attached ? N_HANDED : 2);
        }
        if (r < 0)
                return fail("cannot hand over the environment", r);
        if (!getenv("PATH"))
                (void) setenv("PATH", PATH_OF_PROGRAMS, 1);
        execvp(o.command[0], o.command);
        return fail(o.command[0], -errno);
}
