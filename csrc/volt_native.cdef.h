/* SPDX-License-Identifier: Apache-2.0
 *
 * Read by cffi as it stands (so: declarations only, no preprocessor) and included by volt_native.h.
 *
 * 0 is success, a negative errno is failure. Outputs are named ret_*, come last, and stay as they were on failure;
 * a ret_failed_* is the other way round. What is handed back through a pointer to a pointer belongs to the caller, who
 * frees it with volt_free(). No call prints, exits or keeps state, so all of them may run in parallel.
 */

/* One entry of a tree. Its name, name_size bytes without a NUL, follows at once; the next record starts at the next
 * multiple of 8. Only the last component is kept: with whole paths a deep tree would need the square of its depth. */
struct volt_walk_record {
        int64_t size;
        int64_t mtime_sec;
        int64_t ctime_sec;
        int64_t blocks;
        uint64_t dev;
        uint64_t ino;
        uint64_t nlink;
        uint64_t rdev;
        uint32_t mtime_nsec;
        uint32_t ctime_nsec;
        uint32_t mode;
        uint32_t uid;
        uint32_t gid;
        uint32_t depth;       /* 0: the root itself, whose name is empty */
        uint32_t name_size;
        uint32_t reserved;    /* 0 */
};

void volt_free(void *pointer);

/* Lists the tree below a directory: a directory before its children, children in byte order of their names, each
 * followed by its own subtree. What vanishes meanwhile is left out; any other failure ends the walk, and
 * ret_failed_path is then the path below the root (NULL when memory ran out). */
int volt_walk(int root_fd, bool one_file_system,
              unsigned char **ret_records, size_t *ret_records_size, char **ret_failed_path);

/* SHA-256 from the current offset to the end of the file. */
int volt_hash_file(int fd, unsigned char *ret_digest, uint64_t *ret_size);

/* SHA-256 of many regular files. paths holds n_paths paths relative to root_fd, one after the other, each ended by a
 * NUL that sizes do not count. ret_digests takes 32 bytes and ret_errors one 0 or negative errno for each path. */
int volt_hash_files(int root_fd, const char *paths, const size_t *sizes, size_t n_paths, unsigned n_threads,
                    unsigned char *ret_digests, int *ret_errors);

/* What a call over a whole tree or store tells while it runs, and what it is told. The caller, who owns it, may look at it
 * from another thread, and may set cancelled: the call then ends soon, with -ECANCELED. */
struct volt_job {
        uint64_t bytes;
        uint64_t files;
        int cancelled;
};

/* n identities from first on. */
struct volt_range {
        uint32_t first;
        uint32_t n;
};

/* Which owners this process can give files to. */
struct volt_owner {
        uint32_t uid;             /* its own */
        uint32_t gid;
        bool may_all;             /* any owner, and capabilities: the rest does not matter */
        bool may_capabilities;
        const struct volt_range *uids;
        size_t n_uids;
        const struct volt_range *gids;
        size_t n_gids;
};
