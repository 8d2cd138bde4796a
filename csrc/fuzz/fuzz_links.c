/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of hard links: sound or not, and what is sound is a links record.
 */
#include <errno.h>

#include "fuzz.h"
#include "record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        enum record_kind kind;
        int r;

        r = links_check(data, size);
        expect(r == -EBADMSG || (r == 0 && record_kind(data, size, &kind) == 0 && kind == RECORD_LINKS));
        return 0;
}
