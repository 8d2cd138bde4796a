/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns of --exclude against names of any bytes, compared with a slower way to the same answer.
 */
#include <locale.h>
#include <stdbool.h>
#include <string.h>
#include <wchar.h>

#include "fuzz.h"
#include "glob.h"
#include "util.h"
#include "volt_native.h"

#define MOST_STEPS 24U
#define MOST_TEXT 64U
#define STEP_SIZE 8U

struct step {
        uint32_t kind, n, ranges[2 * 3];
};

/* The characters of the text by the C library, which has no more to do with glob.c than Python has. */
static size_t decode(const unsigned char *text, size_t size, uint32_t *ret) {
        size_t n = 0;

        for (size_t at = 0; at < size;) {
                mbstate_t state = {};
                wchar_t c = 0;
                size_t used = mbrtowc(&c, (const char *) text + at, size - at, &state);

                /* This one takes what Unicode has not: beyond its end, or a surrogate. */
                if (used > size - at || (uint32_t) c > 0x10ffff || ((uint32_t) c >= 0xd800 && (uint32_t) c <= 0xdfff)) {
                        ret[n++] = 0xdc00U + text[at];
                        used = 1;
                } else
                        ret[n++] = (uint32_t) c;
                at += used > 0 ? used : 1;
        }
        return n;
}

static bool takes(const struct step *s, uint32_t c) {
        bool in = false;

        for (uint32_t i = 0; i < s->n; i++)
                in = in || (c >= s->ranges[2 * i] && c <= s->ranges[2 * i + 1]);
        return in == (s->kind == GLOB_ONE);
}

/* Which lengths of text can have been taken, step by step. */
static bool matches(const struct step *steps, size_t n_steps, const uint32_t *text, size_t n) {
        bool reached[MOST_TEXT + 1] = { true };

        for (size_t s = 0; s < n_steps; s++) {
                bool next[MOST_TEXT + 1] = {};

                for (size_t i = 0; i <= n; i++)
                        if (steps[s].kind == GLOB_MANY)
                                next[i] = reached[i] || (i > 0 && next[i - 1]);
                        else
                                next[i] = i > 0 && reached[i - 1] && takes(&steps[s], text[i - 1]);
                memcpy(reached, next, sizeof reached);
        }
        return reached[n];
}

/* A byte that says how many steps; each step's kind, number of ranges and ranges; then the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct step steps[MOST_STEPS];
        uint32_t program[MOST_STEPS * STEP_SIZE + 1], text[MOST_TEXT];
        _cleanup_free_ char *copy = NULL;
        size_t n_steps = 0, n_program = 0, n;

        expect(setlocale(LC_CTYPE, "C.UTF-8"));
        for (size_t left = size > 0 ? *data % (MOST_STEPS + 1) : 0; left > 0 && size > 7; left--) {
                struct step *s = &steps[n_steps++];

                *s = (struct step) { .kind = data[1] % 3 + GLOB_ONE, .n = data[1] / 3 % 4 };
                for (unsigned i = 0; i < 6; i++)
                        /* Also beyond a byte: the escapes of bytes, and characters of two. */
                        s->ranges[i] = data[2 + i] < 0xf0 ? data[2 + i] : data[2 + i] < 0xf8 ? 0xdc80U : 0x10ffffU;
                program[n_program++] = s->kind;
                if (s->kind != GLOB_MANY) {
                        program[n_program++] = s->n;
                        memcpy(program + n_program, s->ranges, 2 * s->n * sizeof *s->ranges);
                        n_program += 2 * s->n;
                }
                data += 7;
                size -= 7;
        }
        program[n_program] = GLOB_END;
        if (size > MOST_TEXT)
                size = MOST_TEXT;
        /* Of its very size: AddressSanitizer sees one byte too many. */
        copy = malloc(size);
        expect(copy || size == 0);
        if (size > 0)
                memcpy(copy, data, size);
        n = decode(data, size, text);
        expect(volt_glob_matches(program, copy, size) == matches(steps, n_steps, text, n));
        return 0;
}
