/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_NATIVE_H
#define VOLT_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "volt_native.cdef.h"

#define VOLT_DIGEST_SIZE 32U

#endif
