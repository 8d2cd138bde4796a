/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"

#define BUSCTL "/usr/bin/busctl"
#define MACHINE_OF_UNIT "/run/systemd/machines/unit:%s"
#define MACHINED "org.freedesktop.machine1"

void forget_machine(const char *unit) {
        char path[512], name[256];
        ssize_t n;
        pid_t pid;

        (void) snprintf(path, sizeof path, MACHINE_OF_UNIT, unit);
        n = readlink(path, name, sizeof name - 1);
        if (n <= 0)
                return;
        name[n] = 0;
        pid = fork();
        if (pid == 0) {
                (void) execl(BUSCTL, "busctl", "--quiet", "--timeout=10", "call", MACHINED, "/org/freedesktop/machine1",
                             MACHINED ".Manager", "UnregisterMachine", "s", name, (char *) NULL);
                _exit(EXIT_FAILURE);
        }
        if (pid > 0)
                (void) RETRY_EINTR(waitpid(pid, NULL, 0));
}
