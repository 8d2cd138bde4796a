/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "msgpack.h"
#include "record.h"

struct path {
        const unsigned char *data;
        size_t size;
};

static int compare_paths(const void *a, const void *b) {
        const struct path *x = a, *y = b;
        int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);

        return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

static bool is_valid_path(const struct path *path) {
        const unsigned char *at = path->data, *end = at + path->size;

        for (;;) {
                const unsigned char *slash = memchr(at, '/', (size_t) (end - at));
                size_t size = (size_t) ((slash ? slash : end) - at);

                if (size == 0 || !is_valid_name(at, size))
                        return false;
                if (!slash)
                        return true;
                at = slash + 1;
        }
}

/* Reads one group behind the paths that are there; each of its own is greater than the one before. */
static int read_group(struct input *in, struct path **paths, size_t *n_paths, size_t *allocated) {
        struct path previous = {};
        uint32_t n;
        int r;

        r = mp_read_array(in, &n);
        if (r < 0)
                return r;
        if (n < 2)
                return -EBADMSG;
        for (uint32_t i = 0; i < n; i++) {
                struct path path;

                r = mp_read_bytes(in, 1, UINT32_MAX, &path.data, &path.size);
                if (r < 0)
                        return r;
                if (!is_valid_path(&path) || (i > 0 && compare_paths(&previous, &path) >= 0))
                        return -EBADMSG;
                if (grow(paths, allocated, *n_paths + 1, sizeof path, 64) < 0)
                        return -ENOMEM;
                (*paths)[(*n_paths)++] = previous = path;
        }
        return 0;
}

int links_check(const unsigned char *data, size_t size) {
        struct input in = { .at = data, .end = data + size };
        _cleanup_free_ struct path *paths = NULL;
        size_t n_paths = 0, allocated = 0, first = 0;
        const unsigned char *tag;
        size_t tag_size;
        uint32_t n;
        int r;

        r = mp_read_array(&in, &n);
        if (r >= 0 && n != 2)
                r = -EBADMSG;
        if (r >= 0)
                r = mp_read_tag(&in, &tag, &tag_size);
        if (r >= 0 && (tag_size != 5 || memcmp(tag, "links", 5) != 0))
                r = -EBADMSG;
        if (r >= 0)
                r = mp_read_array(&in, &n);
        if (r < 0)
                return r;
        for (uint32_t i = 0; i < n; i++) {
                size_t start = n_paths;

                r = read_group(&in, &paths, &n_paths, &allocated);
                if (r < 0)
                        return r;
                if (i > 0 && compare_paths(&paths[first], &paths[start]) >= 0)
                        return -EBADMSG;
                first = start;
        }
        if (n == 0 || in.at != in.end)
                return -EBADMSG;
        qsort(paths, n_paths, sizeof *paths, compare_paths);
        for (size_t i = 1; i < n_paths; i++)
                if (compare_paths(&paths[i - 1], &paths[i]) == 0)
                        return -EBADMSG;
        return 0;
}
