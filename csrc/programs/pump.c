/* SPDX-License-Identifier: Apache-2.0 */
#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "../util.h"

#define END_OF_FILE 4           /* control-D, unless the payload has chosen another */

int open_terminal(unsigned short rows, unsigned short columns, int *ret_master, int *ret_slave) {
        _cleanup_close_ int master = -1, slave = -1;
        struct winsize size = { .ws_row = rows, .ws_col = columns };
        int unlock = 0;

        master = RETRY_EINTR(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
        if (master < 0)
                return -errno;
        if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
                return -errno;
        /* By the master rather than by name: whoever owns the mount namespace may have put anything there. */
        slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (slave < 0)
                return -errno;
        if (rows > 0 && columns > 0)
                (void) ioctl(master, TIOCSWINSZ, &size);
        *ret_master = steal_fd(&master);
        *ret_slave = steal_fd(&slave);
        return 0;
}

void copy_terminal_size(int fd, int master) {
        struct winsize size;

        if (ioctl(fd, TIOCGWINSZ, &size) == 0)
                (void) ioctl(master, TIOCSWINSZ, &size);
}

bool flow_is_pending(const struct flow *flow) {
        return flow->to >= 0 && flow->sent < flow->size;
}

void flow_prepare(const struct flow *flow, struct pollfd *polls) {
        bool pending = flow_is_pending(flow);

        polls[0] = (struct pollfd) { .fd = pending ? -1 : flow->from, .events = POLLIN };
        polls[1] = (struct pollfd) { .fd = pending ? flow->to : -1, .events = POLLOUT };
}

static void write_log(struct flow *flow, const char *data, size_t size) {
        while (flow->log >= 0 && size > 0) {
                ssize_t n = RETRY_EINTR(write(flow->log, data, size));

                if (n < 0)
                        flow->log = -1;
                else {
                        data += n;
                        size -= (size_t) n;
                }
        }
}

static void lose_reader(struct flow *flow) {
        flow->to = -1;
        flow->size = flow->sent = 0;
        if (flow->ends_with_reader)
                flow->from = close_fd(flow->from);
}

static void reach_end(struct flow *flow) {
        flow->from = close_fd(flow->from);
        if (flow->is_input && flow->to >= 0) {
                flow->buffer[0] = END_OF_FILE;
                flow->size = 1;
                flow->sent = 0;
        }
}

static void send_on(struct flow *flow) {
        /* A write of no more than this does not block on a pipe of which poll() said that it has room. */
        size_t chunk = flow->size - flow->sent < PIPE_BUF ? flow->size - flow->sent : PIPE_BUF;
        ssize_t n = RETRY_EINTR(write(flow->to, flow->buffer + flow->sent, chunk));

        if (n >= 0)
                flow->sent += (size_t) n;
        else if (errno != EAGAIN)
                lose_reader(flow);
}

static bool take_in(struct flow *flow) {
        ssize_t n = RETRY_EINTR(read(flow->from, flow->buffer, sizeof flow->buffer));

        if (n < 0 && errno == EAGAIN)
                return false;
        /* A terminal whose last user is gone says EIO. */
        if (n <= 0) {
                reach_end(flow);
                return false;
        }
        flow->size = (size_t) n;
        flow->sent = 0;
        write_log(flow, flow->buffer, flow->size);
        return true;
}

void flow_advance(struct flow *flow, const struct pollfd *polls) {
        if (polls[1].fd >= 0 && polls[1].revents != 0)
                send_on(flow);
        else if (polls[0].fd >= 0 && polls[0].revents != 0)
                (void) take_in(flow);
}

bool flow_drain(struct flow *flow) {
        return flow->from >= 0 && take_in(flow);
}
