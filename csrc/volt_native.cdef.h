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
        uint64_t total;       /* of the bytes; 0 until that is known */
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

/* What volt_ingest() reads and where it writes. All descriptors and arrays stay the caller's. */
struct volt_ingest {
        int root_fd;
        int store_fd;
        int staging_fd;           /* a fresh directory; each thread makes one of its own in it */
        int cache_fd;             /* what was read last time; -1: nothing */
        int new_cache_fd;         /* an empty file, for what is read now; -1: none */
        int64_t racy_ns;          /* what was changed since this moment is not kept in the cache */
        bool one_file_system;
        bool clamp;               /* all times are 0 */
        unsigned n_threads;
        const struct volt_owner *owner;
        const uint32_t *globs;    /* programs of csrc/glob.h, one after the other: what they match is left out */
        const size_t *glob_starts;
        const bool *glob_whole;   /* compared with the whole path, else with the last component */
        size_t n_globs;
        const char *const *mounts;    /* paths below the root, in the order of strcmp(): what is mounted is left out */
        size_t n_mounts;
};

/* Why an ingest failed, beside its errno. */
enum volt_ingest_reason {
        VOLT_INGEST_ERRNO,
        VOLT_INGEST_CHANGED,      /* what failed_path names changed while it was read */
        VOLT_INGEST_TOO_DEEP
};

/* What the entries that were left out are; VOLT_NOTE_XATTRS and above are attributes of entries that were not. */
enum volt_note {
        VOLT_NOTE_STORE,
        VOLT_NOTE_MOUNTED,
        VOLT_NOTE_SOCKET,
        VOLT_NOTE_WHITEOUT,
        VOLT_NOTE_XATTRS_OVERLAY,
        VOLT_NOTE_XATTRS_SECURITY,
        VOLT_NOTE_XATTRS_SYSTEM,
        VOLT_NOTE_XATTRS_TRUSTED,
        VOLT_NOTE_XATTRS_UNKNOWN,
        VOLT_NOTE_XATTRS_UNREADABLE,
        VOLT_N_NOTES
};

struct volt_ingested {
        unsigned char digest[32];     /* of the root's directory record */
        unsigned char *metadata;      /* of the root, encoded */
        size_t metadata_size;
        uint64_t files;               /* every name of a hard-linked file counts */
        uint64_t bytes;
        uint64_t new_objects;
        uint64_t new_bytes;
        unsigned char *links;         /* for each name of what has several: dev, ino and size of the path (uint64_t), path */
        size_t links_size;
        uint64_t note_counts[10];     /* by enum volt_note */
        char *note_paths[10];         /* of the first one of each kind; NULL where there is none */
        int reason;
        char *failed_path;
};

/* Stages everything below a directory but the top record: contents as objects, unless the store has them, and one record
 * per directory. ret has pointers for volt_free() also on failure. */
int volt_ingest(const struct volt_ingest *request, struct volt_job *job, struct volt_ingested *ret);

/* Whether a program of csrc/glob.h matches a name. */
bool volt_glob_matches(const uint32_t *program, const char *text, size_t size);

/* A file to be staged from memory: an object, or without metadata a record. */
struct volt_staged_file {
        const unsigned char *data;
        size_t size;
        const unsigned char *metadata;    /* encoded, as in a record */
        size_t metadata_size;
        bool is_new;                      /* the caller knows the digest, and stages it once; so with all records */
        bool replaces;                    /* ... or that what is stored is damaged */
        unsigned char digest[32];         /* of what is not known to be new, what was found out */
};

struct volt_staging;

/* What one run stages from memory. Descriptors and owner stay the caller's, and must live as long. */
int volt_staging_new(int store_fd, int staging_fd, const struct volt_owner *owner, struct volt_staging **ret);
void volt_staging_free(struct volt_staging *staging);

/* Writes new files into the staging directory of thread `number`, which may be any above 0. For several threads. */
int volt_stage_files(struct volt_staging *staging, unsigned number, struct volt_staged_file *files, size_t n_files);

/* How many objects were new, of those whose digests were found out. */
void volt_staging_counts(struct volt_staging *staging, uint64_t *ret_objects, uint64_t *ret_bytes);

/* Moves what was staged to where it belongs, without replacing but for what is in "*.replace". */
int volt_publish(int staging_fd, int store_fd, unsigned n_threads);

/* How the files of a checkout get their content. */
enum volt_checkout_mode {
        VOLT_CHECKOUT_LINK,           /* they are hard links to objects and variants of the store */
        VOLT_CHECKOUT_AUTO,           /* they share blocks with objects, or where that cannot be are copies */
        VOLT_CHECKOUT_REFLINK,        /* they share blocks; where that cannot be they are left */
        VOLT_CHECKOUT_COPY
};

/* What volt_checkout() has made, and what it has not. NULL stands for nothing. */
struct volt_checkout_report {
        uint64_t files;               /* made; with content `linked` or `reflinked` or copied */
        uint64_t bytes;
        uint64_t linked;
        uint64_t reflinked;
        uint64_t foreign_owners;      /* entries that could not get theirs */
        uint64_t devices;             /* that could not be made */
        char *refused_xattrs;         /* the names of those that could not be set, each ended by a NUL */
        size_t refused_xattrs_size;
        unsigned char *left;          /* below */
        size_t left_size;
};

/* Fills an empty directory with the tree of that digest. What is rare is left to the caller: files for which there is no
 * inode to link that is right, what is damaged or missing in the store, and what has several names, all in `grouped`: paths
 * in byte order, each ended by a NUL; links to the store are as many names as one likes, and not meant. The report lists
 * what is left, each item a letter, a name, and a NUL:
 *   d   a directory (the root has no name); what is left in it follows, up to a "u" without a name. Its metadata is to be
 *       set in the end, for it may forbid the rest;
 *   w   a directory that is empty so far, all of it;
 *   e   any other entry.
 * max_links is the number of links that an inode may have, 0 standing for the file system's own limit. The progress
 * counts what is made, and the bytes in it. On failure ret_failed_path is the path below the root, NULL when there is
 * none, and what was made is still there. */
int volt_checkout(int store_fd, int root_fd, const unsigned char *digest, int mode,
                  const char *grouped, size_t grouped_size, const struct volt_owner *owner, unsigned max_links,
                  unsigned n_threads, struct volt_job *job,
                  struct volt_checkout_report *ret_report, char **ret_failed_path);


/* A file in a fanned-out folder of a store. */
struct volt_stored {
        unsigned char digest[32];     /* the one in its name */
        uint64_t size;                /* 0: not known; during a verification what a record says, until it is open */
        uint64_t inode;
        uint32_t suffix;
        uint8_t state;                /* during gc */
        bool is_irregular, is_large, is_gone;
};

/* What volt_verify() found. The pointers belong to the verification. */
struct volt_verified {
        uint64_t objects;
        uint64_t records;
        uint64_t bytes;               /* of objects and variants */
        bool is_whole;                /* no record names what is missing, or of another size or kind, or lies too deep */
        const unsigned char *damaged; /* of each damaged file an int32_t (0: its content is not what its name says; else */
        size_t damaged_size;          /* the negative errno of reading it), then its path below the store and a NUL */
};

struct volt_verification;

/* Hashes all that the store has, and looks whether the records fit together. job->total is set before the first byte
 * is hashed. */
int volt_verify(int store_fd, unsigned n_threads, struct volt_job *job,
                struct volt_verification **ret, char **ret_failed_path);

const struct volt_verified *volt_verification_result(const struct volt_verification *verification);

/* The objects (or the variants) whose digest begins with the byte `prefix`; they belong to the verification. */
const struct volt_stored *volt_verification_files(const struct volt_verification *verification, bool variants,
                                                  unsigned prefix, size_t *ret_n);

void volt_verification_free(struct volt_verification *verification);

/* In what a linked checkout differs from its tree; a negative errno: it could not be looked at. */
enum volt_difference {
        VOLT_OTHER = 1,       /* it has something else at the path */
        VOLT_MISSING,
        VOLT_EXTRA,
};

/* Compares linked checkouts with their trees: file by file with the inodes that the verification saw. links_fd has a
 * directory for each digest, named by its 64 digits, with the checkout as "root" in it. ret_differences gets, for each
 * checkout that differs, the uint32_t number of its digest, an int32_t of the first difference, and a path below the
 * checkout with a NUL. Of a tree whose records cannot be read, nothing is said. */
int volt_compare(const struct volt_verification *verification, int store_fd, int links_fd,
                 const unsigned char *digests, size_t n_digests, unsigned n_threads, struct volt_job *job,
                 unsigned char **ret_differences, size_t *ret_size);

/* How many names an inode will lose with what goes before the files of the store. */
struct volt_lost {
        uint64_t inode;
        uint64_t names;
};

/* What volt_choose() found. The pointers belong to the choice. */
struct volt_chosen {
        uint64_t bytes;
        uint64_t young;               /* kept because of their age: files, and trees with all they reach */
        const unsigned char *records; /* top records first; each a digest and a uint64_t of its size */
        uint64_t n_records;
        const unsigned char *objects; /* the same */
        uint64_t n_objects;
        const unsigned char *variants;/* each a uint64_t of its size, its name (prefix and rest joined) and a NUL */
        size_t variants_size;
        uint64_t n_variants;
};

struct volt_choice;

/* Chooses what gc removes. Kept is what the n_roots digests at `roots` reach, and those of `spared`, and any top record
 * whose file is not older than `limit` (seconds since the epoch), together with what it reaches; and whatever else is not
 * older. Damage below a root is a failure: -EBADMSG, or -ENOENT for a missing record. Below the others it ends the search
 * there. `lost`, sorted by inode, tells what has to be counted off from the links of variants. */
int volt_choose(int store_fd, const unsigned char *roots, size_t n_roots, const unsigned char *spared, size_t n_spared,
                double limit, const struct volt_lost *lost, size_t n_lost, unsigned n_threads, struct volt_job *job,
                struct volt_choice **ret, char **ret_failed_path);

const struct volt_chosen *volt_choice_result(const struct volt_choice *choice);

/* Removes what was chosen, once: records before what they name, top records before all others. */
int volt_sweep(struct volt_choice *choice, unsigned n_threads, struct volt_job *job, char **ret_failed_path);

void volt_choice_free(struct volt_choice *choice);
