/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/sysmacros.h>

#include "ingest.h"

int ingest_note(struct ingest *in, enum volt_note what, const char *path, size_t path_size) {
        if (in->result->note_counts[what]++ == 0) {
                in->result->note_paths[what] = strndup(path, path_size);
                if (!in->result->note_paths[what])
                        return -ENOMEM;
        }
        return 0;
}

/* The path of an item, relative to the root. */
static int item_path(const struct ingest *in, const struct item *item, struct buffer *ret) {
        const struct window *w = &in->window;
        int r = 0;

        ret->size = 0;
        if (w->n_folders > 0) {
                const struct folder *folder = &w->folders[item->folder];

                r = buffer_append(ret, w->names.data + folder->path, folder->path_size);
                if (r >= 0 && folder->path_size > 0)
                        r = buffer_append(ret, "/", 1);
                if (r >= 0)
                        r = buffer_append(ret, w->names.data + item->name, item->name_size);
        }
        return r < 0 ? r : buffer_append(ret, "", 1);
}

static int fail(struct ingest *in, const struct item *item) {
        _cleanup_buffer_ struct buffer path = {};

        in->result->reason = item->reason;
        if (item_path(in, item, &path) >= 0)
                in->result->failed_path = (char *) STEAL_POINTER(path.data);
        return item->error;
}

static size_t inode_slot(const struct stat *st) {
        return (size_t) ((st->st_ino ^ st->st_dev) * 0x9e3779b97f4a7c15U >> 32) % N_INODE_SLOTS;
}

struct inode *find_inode(const struct ingest *in, const struct stat *st) {
        for (struct inode *inode = in->inodes[inode_slot(st)]; inode; inode = inode->next)
                if (inode->item.st.st_ino == st->st_ino && inode->item.st.st_dev == st->st_dev)
                        return inode;
        return NULL;
}

/* Keeps an inode with several names; what it has beside its digest is copied. */
static int remember_inode(struct ingest *in, const struct item *item, const struct entry *e) {
        size_t slot = inode_slot(&item->st), xattrs_size = e->metadata.xattrs_size;
        struct inode *inode;

        inode = calloc(1, sizeof *inode);
        if (!inode)
                return -ENOMEM;
        inode->data = malloc(xattrs_size + e->target_size + 1);
        if (!inode->data) {
                free(inode);
                return -ENOMEM;
        }
        if (xattrs_size > 0)
                memcpy(inode->data, e->metadata.xattrs, xattrs_size);
        if (e->target_size > 0)
                memcpy(inode->data + xattrs_size, e->target, e->target_size);
        inode->item = *item;
        inode->item.xattrs_size = xattrs_size;
        inode->item.n_xattrs = e->metadata.n_xattrs;
        inode->item.target_size = e->target_size;
        inode->next = in->inodes[slot];
        in->inodes[slot] = inode;
        return 0;
}

static int add_link(struct buffer *links, const struct stat *st, const unsigned char *path, size_t path_size) {
        const uint64_t numbers[] = { st->st_dev, st->st_ino, path_size };
        int r;

        r = buffer_append(links, numbers, sizeof numbers);
        return r < 0 ? r : buffer_append(links, path, path_size);
}

/* What a record says of an item. Everything that it points at lives until the window is filled again. */
static void describe(const struct ingest *in, const struct item *item, const struct inode *inode, struct entry *ret) {
        const struct window *w = &in->window;
        const struct item *found = inode ? &inode->item : item;
        const struct statcache_entry *cached;
        struct entry e = {
                .type = found->type,
                .name = w->names.data + item->name,
                .name_size = item->name_size,
                .metadata = metadata_of(&found->st),
                .size = found->type == 'f' ? (uint64_t) found->st.st_size : 0,
                .digest = found->digest,
                .target_size = found->target_size,
                .major = major(found->st.st_rdev),
                .minor = minor(found->st.st_rdev),
        };

        e.metadata.n_xattrs = found->n_xattrs;
        e.metadata.xattrs_size = found->xattrs_size;
        if (inode) {
                e.metadata.xattrs = inode->data;
                e.target = inode->data + found->xattrs_size;
        } else if (item->is_cached) {
                cached = statcache_find(&in->cache, item->st.st_dev, item->st.st_ino);
                e.metadata.n_xattrs = cached->n_xattrs;
                e.metadata.xattrs_size = cached->xattrs_size;
                e.metadata.xattrs = (const unsigned char *) (cached + 1);
        } else {
                e.metadata.xattrs = in->readers[item->xattrs_thread].xattrs.data + item->xattrs;
                e.target = w->names.data + item->target;
        }
        if (e.type == 'l')
                e.metadata.mode = 0777;
        if (in->request->clamp) {
                e.metadata.seconds = 0;
                e.metadata.nanoseconds = 0;
        }
        *ret = e;
}

static int keep_in_cache(struct ingest *in, const struct item *item, const struct entry *e) {
        struct statcache_entry entry = {
                .dev = item->st.st_dev,
                .ino = item->st.st_ino,
                .size = item->st.st_size,
                .mtime_sec = item->st.st_mtim.tv_sec,
                .mtime_nsec = (uint32_t) item->st.st_mtim.tv_nsec,
                .ctime_sec = item->st.st_ctim.tv_sec,
                .ctime_nsec = (uint32_t) item->st.st_ctim.tv_nsec,
                .n_xattrs = e->metadata.n_xattrs,
                .xattrs_size = (uint32_t) e->metadata.xattrs_size,
        };

        memcpy(entry.digest, e->digest, VOLT_DIGEST_SIZE);
        return statcache_add(&in->new_cache, &entry, e->metadata.xattrs);
}

static int note_xattrs(struct ingest *in, const struct item *item, const struct buffer *path) {
        for (unsigned verdict = XATTR_OVERLAY; verdict < N_XATTR_VERDICTS; verdict++)
                if (item->left_out & 1U << verdict) {
                        int r = ingest_note(in, VOLT_NOTE_XATTRS_OVERLAY + (verdict - XATTR_OVERLAY),
                                            (char *) path->data, path->size - 1);

                        if (r < 0)
                                return r;
                }
        return 0;
}

static int add_entry(struct ingest *in, const struct item *item, const struct buffer *path, struct buffer *links) {
        const struct inode *inode = item->type != 'd' && item->st.st_nlink > 1 ? find_inode(in, &item->st) : NULL;
        struct entry e;
        int r;

        describe(in, item, inode, &e);
        if (e.type == 'd')
                return open_directory(in, &e);
        if (e.type == 'f') {
                in->result->files++;
                in->result->bytes += e.size;
                if (item->is_alias)
                        job_advance(in->job, e.size, 1);
        }
        if (item->st.st_nlink > 1) {
                r = add_link(links, &item->st, path->data, path->size - 1);
                if (r >= 0 && !inode)
                        r = remember_inode(in, item, &e);
                if (r < 0)
                        return r;
        }
        if (!inode && (item->is_cached || item->is_new)) {
                r = keep_in_cache(in, item, &e);
                if (r < 0)
                        return r;
        }
        return directory_add(&in->open[in->n_open - 1].writer, &e);
}

/* Makes records of what the window has. */
static int consume(struct ingest *in, struct buffer *path, struct buffer *links) {
        const struct window *w = &in->window;

        for (size_t i = 0; i < w->n_items; i++) {
                const struct item *item = &w->items[i];
                int r = 0;

                if (item->event == WALK_LEAVE) {
                        r = close_directory(in);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (item->error < 0)
                        return fail(in, item);
                if (item->left_out || (item->type != 'd' && item->st.st_nlink > 1))
                        r = item_path(in, item, path);
                if (r >= 0 && item->left_out)
                        r = note_xattrs(in, item, path);
                if (r >= 0)
                        r = add_entry(in, item, path, links);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int run(struct ingest *in, struct buffer *links) {
        _cleanup_buffer_ struct buffer path = {};
        int r;

        for (r = window_start(in); r >= 0; r = window_fill(in)) {
                r = window_read(in);
                if (r >= 0)
                        r = consume(in, &path, links);
                if (r < 0 || in->at_end)
                        break;
        }
        /* The last records. */
        in->window.n_files = 0;
        return r < 0 ? r : window_read(in);
}

static int set_up(struct ingest *in) {
        const struct volt_ingest *request = in->request;
        struct stat st;
        int r;

        if (fstat(request->store_fd, &st) < 0)
                return -errno;
        in->store_dev = st.st_dev;
        in->store_ino = st.st_ino;
        in->md = sha256_new();
        in->inodes = calloc(N_INODE_SLOTS, sizeof *in->inodes);
        in->readers = calloc(request->n_threads, sizeof *in->readers);
        if (!in->md || !in->inodes || !in->readers)
                return -ENOMEM;
        for (; in->n_threads < request->n_threads; in->n_threads++) {
                r = stager_init(&in->readers[in->n_threads].stager, &in->stage, in->n_threads + 1, in->md);
                if (r < 0) {
                        stager_done(&in->readers[in->n_threads].stager);
                        return r;
                }
        }
        r = statcache_load(&in->cache, request->cache_fd, in->md);
        return r < 0 ? r : statcache_start(&in->new_cache, request->new_cache_fd, in->md);
}

static void tear_down(struct ingest *in) {
        walker_done(&in->walker);
        buffer_done(&in->path);
        free(in->levels);
        buffer_done(&in->window.names);
        free(in->window.folders);
        statcache_done(&in->cache);
        statcache_writer_done(&in->new_cache);
        stage_done(&in->stage);
        for (unsigned i = 0; i < in->n_threads; i++) {
                stager_done(&in->readers[i].stager);
                buffer_done(&in->readers[i].xattrs);
        }
        free(in->readers);
        cleanup_sha256(&in->md);
        while (in->n_open > 0)
                open_record_done(&in->open[--in->n_open]);
        free(in->open);
        for (size_t i = 0; i < in->n_records; i++)
                free(in->records[i].data);
        free(in->records);
        digest_set_done(&in->known_records);
        for (size_t i = 0; in->inodes && i < N_INODE_SLOTS; i++)
                for (struct inode *inode = in->inodes[i], *next; inode; inode = next) {
                        next = inode->next;
                        free(inode->data);
                        free(inode);
                }
        free(in->inodes);
        free(in);
}

int volt_ingest(const struct volt_ingest *request, struct volt_job *job, struct volt_ingested *ret) {
        _cleanup_buffer_ struct buffer links = {};
        struct ingest *in;
        int r;

        if (request->n_threads == 0)
                return -EINVAL;
        in = calloc(1, sizeof *in);
        if (!in)
                return -ENOMEM;
        in->request = request;
        in->job = job;
        in->result = ret;
        r = stage_init(&in->stage, request->store_fd, request->staging_fd, request->owner, job);
        if (r >= 0)
                r = set_up(in);
        if (r >= 0)
                r = run(in, &links);
        if (r >= 0)
                statcache_finish(&in->new_cache);
        ret->new_objects = in->stage.new_objects;
        ret->new_bytes = in->stage.new_bytes;
        ret->links_size = links.size;
        ret->links = STEAL_POINTER(links.data);
        tear_down(in);
        return r;
}
