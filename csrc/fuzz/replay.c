/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for libFuzzer: calls the fuzzer with each file of the folders named, whole, cut off at each byte, and with
 * each byte damaged. What it ends in is the file named last.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "store.h"
#include "util.h"

/* Of a longer one, so many bytes are damaged one by one: the rest would cost the square of its size. */
#define MOST_DAMAGE 4096U

/* In memory of its very size: AddressSanitizer sees one byte too many. */
static void call(const unsigned char *data, size_t size) {
        _cleanup_free_ unsigned char *copy = malloc(size);

        expect(copy || size == 0);
        if (size > 0)
                memcpy(copy, data, size);
        LLVMFuzzerTestOneInput(copy, size);
}

static void replay(int dir_fd, const char *name) {
        static const unsigned char damages[] = { 0x01, 0x10, 0x80, 0xff };
        _cleanup_buffer_ struct buffer input = {};

        printf("%s\n", name);
        fflush(stdout);
        expect(read_whole(dir_fd, name, &input) == 0);
        call(input.data, input.size);
        for (size_t i = 0; i < input.size && i < MOST_DAMAGE; i++) {
                call(input.data, i);
                for (size_t d = 0; d < sizeof damages; d++) {
                        input.data[i] ^= damages[d];
                        call(input.data, input.size);
                        input.data[i] ^= damages[d];
                }
        }
}

int main(int argc, char **argv) {
        unsigned n = 0;

        for (int i = 1; i < argc; i++) {
                DIR *dir = opendir(argv[i]);

                if (!dir) {
                        perror(argv[i]);
                        return 1;
                }
                for (struct dirent *entry; (entry = readdir(dir));)
                        if (entry->d_type == DT_REG) {
                                replay(dirfd(dir), entry->d_name);
                                n++;
                        }
                closedir(dir);
        }
        printf("%u inputs\n", n);
        return n == 0;
}
