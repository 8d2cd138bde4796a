/* SPDX-License-Identifier: Apache-2.0 */
#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../util.h"

/* What the kernel may hold between the two sides of a pseudo terminal, uncounted by FIONREAD. */
#define TERMINAL_BACKLOG 69632

int open_terminal(unsigned short rows, unsigned short columns, int *ret_master, int *ret_slave) {
        _cleanup_close_ int master = -1, slave = -1;
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
                set_terminal_size(master, rows, columns);
        *ret_master = steal_fd(&master);
        *ret_slave = steal_fd(&slave);
        return 0;
}

void set_terminal_size(int master, unsigned short rows, unsigned short columns) {
        struct winsize size = { .ws_row = rows, .ws_col = columns };

        (void) ioctl(master, TIOCSWINSZ, &size);
}

static bool awaits_reader(const struct flow *flow) {
        return flow->to >= 0 && flow->sent < flow->size;
}

static bool awaits_log(const struct flow *flow) {
        return flow->log >= 0 && flow->logged < flow->size;
}

static bool is_busy(const struct flow *flow) {
        return awaits_reader(flow) || awaits_log(flow);
}

void flow_prepare(const struct flow *flow, struct pollfd *polls) {
        polls[0] = (struct pollfd) { .fd = is_busy(flow) ? -1 : flow->from, .events = POLLIN };
        polls[1] = (struct pollfd) { .fd = awaits_reader(flow) ? flow->to : -1, .events = POLLOUT };
        polls[2] = (struct pollfd) { .fd = awaits_log(flow) ? flow->log : -1, .events = POLLOUT };
}

static void send_on(const struct flow *flow, int *fd, size_t *done) {
        ssize_t n = RETRY_EINTR(write(*fd, flow->buffer + *done, flow->size - *done));

        if (n >= 0)
                *done += (size_t) n;
        else if (errno != EAGAIN)
                *fd = -1;
}

static bool take_in(struct flow *flow, size_t limit) {
        ssize_t n = RETRY_EINTR(read(flow->from, flow->buffer, limit < sizeof flow->buffer ? limit : sizeof flow->buffer));

        if (n < 0 && errno == EAGAIN)
                return false;
        if (n <= 0) {
                flow_close(flow);
                return false;
        }
        flow->size = (size_t) n;
        flow->sent = flow->logged = 0;
        return true;
}

void flow_advance(struct flow *flow, const struct pollfd *polls) {
        if (polls[0].fd >= 0 && polls[0].revents != 0)
                (void) take_in(flow, sizeof flow->buffer);
        if (polls[1].fd >= 0 && polls[1].revents != 0)
                send_on(flow, &flow->to, &flow->sent);
        if (polls[2].fd >= 0 && polls[2].revents != 0)
                send_on(flow, &flow->log, &flow->logged);
}

void flow_lose_reader(struct flow *flow) {
        flow->to = -1;
}

void flow_close(struct flow *flow) {
        flow->from = close_fd(flow->from);
}

void flow_end(struct flow *flow) {
        int buffered = 0;

        (void) ioctl(flow->from, FIONREAD, &buffered);
        flow->rest = (size_t) buffered + TERMINAL_BACKLOG;
}

bool flow_has_rest(struct flow *flow) {
        while (!is_busy(flow) && flow->from >= 0)
                if (flow->rest > 0 && take_in(flow, flow->rest))
                        flow->rest -= flow->size;
                else
                        flow_close(flow);
        return is_busy(flow);
}
