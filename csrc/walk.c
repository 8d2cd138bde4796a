/* SPDX-License-Identifier: Apache-2.0 */
#include "volt_native.h"
#include "walker.h"

static int emit(struct buffer *records, const struct walk_item *item) {
        const struct stat *st = &item->st;
        size_t name_size = strlen(item->name);
        size_t size = (sizeof(struct volt_walk_record) + name_size + 7) & ~(size_t) 7;
        struct volt_walk_record record = {
                .size = st->st_size,
                .mtime_sec = st->st_mtim.tv_sec,
                .ctime_sec = st->st_ctim.tv_sec,
                .blocks = st->st_blocks,
                .dev = st->st_dev,
                .ino = st->st_ino,
                .nlink = st->st_nlink,
                .rdev = st->st_rdev,
                .mtime_nsec = (uint32_t) st->st_mtim.tv_nsec,
                .ctime_nsec = (uint32_t) st->st_ctim.tv_nsec,
                .mode = st->st_mode,
                .uid = st->st_uid,
                .gid = st->st_gid,
                .depth = (uint32_t) item->depth,
                .name_size = (uint32_t) name_size,
        };
        unsigned char *at = buffer_extend(records, size);

        if (!at)
                return -ENOMEM;
        memset(at, 0, size);
        memcpy(at, &record, sizeof record);
        memcpy(at + sizeof record, item->name, name_size);
        return 0;
}

static int walk_all(struct walker *w, int root_fd, bool one_file_system, struct buffer *records) {
        enum walk_event event;
        struct walk_item item;
        dev_t dev;
        int r;

        r = walker_start(w, root_fd, &item);
        if (r >= 0)
                r = emit(records, &item);
        dev = item.st.st_dev;
        while (r >= 0) {
                int fd;

                r = walker_next(w, &event, &item);
                if (r < 0 || event == WALK_END)
                        break;
                if (event == WALK_LEAVE)
                        continue;
                if (S_ISDIR(item.st.st_mode) && (!one_file_system || item.st.st_dev == dev)) {
                        r = walker_enter(w, &item, &fd);
                        if (r == -ENOENT) {
                                r = 0;
                                continue;
                        }
                }
                if (r >= 0)
                        r = emit(records, &item);
        }
        return r;
}

int volt_walk(int root_fd, bool one_file_system,
              unsigned char **ret_records, size_t *ret_records_size, char **ret_failed_path) {
        _cleanup_buffer_ struct buffer records = {};
        _cleanup_walker_ struct walker w = {};
        int r;

        r = walk_all(&w, root_fd, one_file_system, &records);
        if (r < 0) {
                *ret_failed_path = walker_failed_path(&w);
                return r;
        }
        *ret_records_size = records.size;
        *ret_records = STEAL_POINTER(records.data);
        return 0;
}

void volt_free(void *pointer) {
        free(pointer);
}
