/* SPDX-License-Identifier: Apache-2.0
 *
 * As much of the Test Anything Protocol as the tests need. The plan is printed last.
 */
#ifndef VOLT_TAP_H
#define VOLT_TAP_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count, tap_failed;

#define ok(condition, ...)                                              \
        do {                                                            \
                bool _passed = (condition);                             \
                printf("%sok %d - ", _passed ? "" : "not ", ++tap_count); \
                printf(__VA_ARGS__);                                    \
                printf("\n");                                           \
                if (!_passed) {                                         \
                        tap_failed++;                                   \
                        printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
                }                                                       \
        } while (0)

/* For what a test needs but does not test. */
#define must(condition)                                                 \
        do                                                              \
                if (!(condition)) {                                     \
                        printf("Bail out! %s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); \
                        exit(2);                                        \
                }                                                       \
        while (0)

static inline int tap_done(void) {
        printf("1..%d\n", tap_count);
        return tap_failed > 0;
}

#endif
