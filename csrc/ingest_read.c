/* SPDX-License-Identifier: Apache-2.0 */
#include "chain.h"
#include "ingest.h"
#include "tee.h"
#include "threads.h"

#define SMALL HASHER_BUFFER_SIZE
#define FILES_PER_TURN 8U

static int changed(struct item *item) {
        item->reason = VOLT_INGEST_CHANGED;
        return -ESTALE;
}

static bool same_state(const struct stat *a, const struct stat *b) {
        return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
                a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
                a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Whether a change could bear the same times as what was read. */
static bool is_racy(const struct ingest *in, const struct stat *st) {
        const struct timespec *latest = &st->st_mtim;
        struct timespec limit = {
                .tv_sec = in->request->racy_ns / 1000000000,
                .tv_nsec = in->request->racy_ns % 1000000000,
        };

        if (st->st_ctim.tv_sec > latest->tv_sec ||
            (st->st_ctim.tv_sec == latest->tv_sec && st->st_ctim.tv_nsec > latest->tv_nsec))
                latest = &st->st_ctim;
        return latest->tv_sec > limit.tv_sec || (latest->tv_sec == limit.tv_sec && latest->tv_nsec >= limit.tv_nsec);
}

/* Gives the directory of an item, and is sure that it is the one that was listed. */
static int open_folder(struct ingest *in, struct chain *chain, size_t *last, struct item *item) {
        const struct folder *folder = &in->window.folders[item->folder];
        struct stat st;
        int fd;

        fd = chain_open(chain, (char *) in->window.names.data + folder->path, folder->path_size);
        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
                return changed(item);
        if (fd < 0 || *last == item->folder)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_dev != folder->dev || st.st_ino != folder->ino)
                return changed(item);
        *last = item->folder;
        return fd;
}

/* Reads the content into the store. */
static int read_content(struct ingest *in, struct reader *reader, int fd, struct item *item) {
        const struct statcache_entry *known = statcache_find(&in->cache, item->st.st_dev, item->st.st_ino);
        struct stager *stager = &reader->stager;
        struct metadata metadata = metadata_of(&item->st);
        uint64_t size;
        int r;

        metadata.xattrs = reader->xattrs.data + item->xattrs;
        metadata.xattrs_size = item->xattrs_size;
        metadata.n_xattrs = item->n_xattrs;
        if (in->request->clamp) {
                metadata.seconds = 0;
                metadata.nanoseconds = 0;
        }
        if (item->st.st_size < SMALL) {
                size_t at = 0;

                /* One byte more than there should be: it may have grown. */
                for (ssize_t n = 1; n > 0 && at <= (size_t) item->st.st_size; at += (size_t) n) {
                        n = RETRY_EINTR(read(fd, stager->hasher.buffer + at, (size_t) item->st.st_size + 1 - at));
                        if (n < 0)
                                return -errno;
                }
                if (at != (size_t) item->st.st_size)
                        return changed(item);
                return stage_data(stager, stager->hasher.buffer, at, &metadata, item->digest);
        }
        if (known && known->size == item->st.st_size) {
                struct tee tee = { .hasher = &stager->hasher, .job = in->job, .tells = true, .from = fd, .to = -1 };
                enum presence presence;

                /* Probably the same again: not worth writing before it is known. */
                item->is_told = true;
                r = tee_file(&tee, &item->st, item->digest, &size);
                if (r >= 0 && size == (uint64_t) item->st.st_size)
                        r = find_object(&in->stage, item->digest, size, &presence);
                else
                        presence = PRESENCE_MISSING;
                if (r < 0 || presence == PRESENCE_THERE)
                        return r;
        }
        r = stage_file(stager, fd, &item->st, &metadata, !item->is_told, item->digest, &size);
        item->is_told = true;
        if (r >= 0 && size != (uint64_t) item->st.st_size)
                return changed(item);
        return r;
}

static int read_open_file(struct ingest *in, unsigned number, int fd, struct item *item) {
        struct reader *reader = &in->readers[number];
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_dev != item->st.st_dev || st.st_ino != item->st.st_ino || !S_ISREG(st.st_mode))
                return changed(item);
        item->st = st;
        item->xattrs = reader->xattrs.size;
        item->xattrs_thread = number;
        r = xattrs_read(&reader->stager.xattrs, fd, &reader->xattrs, &item->n_xattrs, &item->left_out);
        if (r < 0)
                return r;
        item->xattrs_size = reader->xattrs.size - item->xattrs;
        r = read_content(in, reader, fd, item);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!same_state(&item->st, &st))
                return changed(item);
        item->is_new = !is_racy(in, &st);
        return 0;
}

static int read_file(struct ingest *in, unsigned number, struct chain *chain, size_t *last, struct item *item) {
        _cleanup_close_ int fd = -1;
        enum presence presence;
        char name[256];
        int dir_fd, r;

        if (item->is_cached) {
                r = item->st.st_size > 0 ? find_object(&in->stage, item->digest, (uint64_t) item->st.st_size, &presence) : 0;
                if (r < 0 || item->st.st_size == 0 || presence == PRESENCE_THERE)
                        return r;
                item->is_cached = false;
        }
        dir_fd = open_folder(in, chain, last, item);
        if (dir_fd < 0)
                return dir_fd;
        memcpy(name, in->window.names.data + item->name, item->name_size);
        name[item->name_size] = 0;
        fd = openat_noatime(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return errno == ENOENT || errno == ELOOP ? changed(item) : -errno;
        return read_open_file(in, number, fd, item);
}

static void read_files(struct ingest *in, unsigned number) {
        struct window *w = &in->window;
        size_t last = SIZE_MAX;
        _cleanup_chain_ struct chain chain;

        chain_init(&chain, in->request->root_fd);
        for (;;) {
                size_t at = __atomic_fetch_add(&in->next_file, FILES_PER_TURN, __ATOMIC_RELAXED);

                for (size_t i = at; i < at + FILES_PER_TURN; i++) {
                        struct item *item;

                        if (i >= w->n_files || job_is_cancelled(in->job))
                                return;
                        item = &w->items[w->files[i]];
                        item->error = read_file(in, number, &chain, &last, item);
                        job_advance(in->job, item->is_told ? 0 : (uint64_t) item->st.st_size, 1);
                }
        }
}

static void work(void *userdata, unsigned number) {
        struct ingest *in = userdata;
        struct reader *reader = &in->readers[number];

        read_files(in, number);
        for (;;) {
                size_t at = __atomic_fetch_add(&in->next_record, 1, __ATOMIC_RELAXED);
                struct pending_record *record;

                if (at >= in->n_records || reader->error < 0)
                        return;
                record = &in->records[at];
                reader->error = stage_record(&reader->stager, record->data, record->size, record->digest);
        }
}

int window_read(struct ingest *in) {
        unsigned n_threads = in->n_threads;

        if (in->window.n_files + in->n_records < 2 * FILES_PER_TURN)
                n_threads = in->window.n_files < 2 ? 1 : n_threads;
        in->next_file = in->next_record = 0;
        run_threads(n_threads, work, in);
        for (size_t i = 0; i < in->n_records; i++)
                free(in->records[i].data);
        in->n_records = 0;
        if (job_is_cancelled(in->job))
                return -ECANCELED;
        for (unsigned i = 0; i < in->n_threads; i++)
                if (in->readers[i].error < 0)
                        return in->readers[i].error;
        return 0;
}
