/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_FUZZ_H
#define VOLT_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* What libFuzzer, or replay.c in its place, calls with one input after the other. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define expect(condition)                                               \
        do                                                              \
                if (!(condition)) {                                     \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
                        abort();                                        \
                }                                                       \
        while (0)

#endif
