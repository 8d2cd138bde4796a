/* SPDX-License-Identifier: Apache-2.0 */
#include "glob.h"
#include "volt_native.h"

static bool is_rest(unsigned char c) {
        return (c & 0xc0) == 0x80;
}

/* Takes one character off the text; as strict as Python's decoder. */
static uint32_t next_character(const unsigned char **at, const unsigned char *end) {
        const unsigned char *p = *at;
        size_t left = (size_t) (end - p);
        uint32_t c = p[0];

        *at = p + 1;
        if (c < 0x80)
                return c;
        if (c >= 0xc2 && c <= 0xdf && left >= 2 && is_rest(p[1])) {
                *at = p + 2;
                return (c & 0x1f) << 6 | (p[1] & 0x3fU);
        }
        if (c >= 0xe0 && c <= 0xef && left >= 3 && is_rest(p[1]) && is_rest(p[2])) {
                c = (c & 0x0f) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU);
                if (c >= 0x800 && (c < 0xd800 || c > 0xdfff)) {
                        *at = p + 3;
                        return c;
                }
        } else if (c >= 0xf0 && c <= 0xf4 && left >= 4 && is_rest(p[1]) && is_rest(p[2]) && is_rest(p[3])) {
                c = (c & 0x07) << 18 | (p[1] & 0x3fU) << 12 | (p[2] & 0x3fU) << 6 | (p[3] & 0x3fU);
                if (c >= 0x10000 && c <= 0x10ffff) {
                        *at = p + 4;
                        return c;
                }
        }
        return 0xdc00U + p[0];
}

static bool is_in(const uint32_t *ranges, uint32_t n, uint32_t c) {
        for (uint32_t i = 0; i < n; i++)
                if (c >= ranges[2 * i] && c <= ranges[2 * i + 1])
                        return true;
        return false;
}

bool volt_glob_matches(const uint32_t *program, const char *text, size_t size) {
        const unsigned char *at = (const unsigned char *) text, *end = at + size;
        const uint32_t *retry_program = NULL;
        const unsigned char *retry_at = NULL;

        for (;;) {
                if (*program == GLOB_MANY) {
                        retry_program = ++program;
                        retry_at = at;
                        continue;
                }
                if (*program == GLOB_END && at == end)
                        return true;
                if (*program != GLOB_END && at < end) {
                        uint32_t n = program[1], c = next_character(&at, end);

                        if (is_in(program + 2, n, c) == (*program == GLOB_ONE)) {
                                program += 2 + 2 * (size_t) n;
                                continue;
                        }
                }
                /* The last "many" takes one character more: earlier ones need not, since that one could take it too. */
                if (!retry_program || retry_at == end)
                        return false;
                (void) next_character(&retry_at, end);
                program = retry_program;
                at = retry_at;
        }
}
