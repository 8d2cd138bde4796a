/* SPDX-License-Identifier: Apache-2.0
 *
 * Staging what its reader has in memory: an archive's files, in batches from several threads.
 */
#include <errno.h>

#include "stage.h"

struct volt_staging {
        struct stage stage;
        sha256_t md;
};

void volt_staging_free(struct volt_staging *s) {
        if (!s)
                return;
        stage_done(&s->stage);
        cleanup_sha256(&s->md);
        free(s);
}

int volt_staging_new(int store_fd, int staging_fd, const struct volt_owner *owner, struct volt_staging **ret) {
        struct volt_staging *s;
        int r;

        s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        s->md = sha256_new();
        if (!s->md) {
                free(s);
                return -ENOMEM;
        }
        r = stage_init(&s->stage, store_fd, staging_fd, owner, NULL);
        if (r < 0) {
                volt_staging_free(s);
                return r;
        }
        *ret = s;
        return 0;
}

static int stage_one(struct stager *stager, struct volt_staged_file *file) {
        struct metadata metadata;
        int r;

        if (!file->metadata)
                return stage_new(stager, file->digest, file->replaces, file->data, file->size, NULL);
        r = metadata_decode(file->metadata, file->metadata_size, &metadata);
        if (r < 0)
                return r;
        if (file->is_new)
                return stage_new(stager, file->digest, file->replaces, file->data, file->size, &metadata);
        return stage_data(stager, file->data, file->size, &metadata, file->digest);
}

int volt_stage_files(struct volt_staging *s, unsigned number, struct volt_staged_file *files, size_t n_files) {
        struct stager stager;
        int r;

        if (number == 0)
                return -EINVAL;
        r = stager_init(&stager, &s->stage, number, s->md);
        for (size_t i = 0; r >= 0 && i < n_files; i++)
                r = stage_one(&stager, &files[i]);
        stager_done(&stager);
        return r;
}

void volt_staging_counts(struct volt_staging *s, uint64_t *ret_objects, uint64_t *ret_bytes) {
        (void) pthread_mutex_lock(&s->stage.lock);
        *ret_objects = s->stage.new_objects;
        *ret_bytes = s->stage.new_bytes;
        (void) pthread_mutex_unlock(&s->stage.lock);
}
