/* SPDX-License-Identifier: Apache-2.0
 *
 * Tree records: what is read as one is also written that way.
 */
#include "fuzz.h"
#include "tests/recode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_buffer_ struct buffer again = {};
        int kind;

        kind = recode(data, size, &again);
        if (kind == RECORD_DIRECTORY)
                expect(again.size == size && memcmp(again.data, data, size) == 0);
        else
                expect(kind >= 0 || kind == -EBADMSG);
        return 0;
}
