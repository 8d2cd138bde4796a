/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers questions on standard input, so that a test can compare the C and the Python code: how is this record written
 * anew? A question is its size (uint32_t) and its bytes; an answer is the kind or negative errno (int32_t), the size
 * (uint32_t) and the bytes.
 */
#include <stdint.h>

#include "tests/recode.h"
#include "tests/tap.h"

#define MOST (64U * 1024 * 1024)

int main(void) {
        uint32_t size;

        while (fread(&size, sizeof size, 1, stdin) == 1) {
                _cleanup_buffer_ struct buffer answer = {};
                /* Of its very size: AddressSanitizer sees one byte too many. */
                _cleanup_free_ unsigned char *data = malloc(size);
                int32_t kind;

                must(size < MOST);
                must(data || size == 0);
                must(fread(data, 1, size, stdin) == size);
                kind = recode(data, size, &answer);
                if (kind < 0)
                        answer.size = 0;
                size = (uint32_t) answer.size;
                must(fwrite(&kind, sizeof kind, 1, stdout) == 1 && fwrite(&size, sizeof size, 1, stdout) == 1);
                must(size == 0 || fwrite(answer.data, 1, size, stdout) == size);
                must(fflush(stdout) == 0);
        }
        return 0;
}
