/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "verify.h"

/* Records are counted through all buckets. */
static uint32_t record_number(const struct volt_verification *v, const struct volt_stored *record) {
        return v->first_record[record->digest[0]] +
                (uint32_t) (record - v->records.buckets[record->digest[0]].files);
}

static int add_child(struct verifier *t, struct node *node, const unsigned char *digest) {
        const struct volt_stored *child = fanout_find(&t->v->records, digest);

        if (!child) {
                atomic_store_explicit(&t->v->has_holes, true, memory_order_relaxed);
                return 0;
        }
        if (grow(&t->children, &t->children_allocated, (size_t) node->n_children + 1, sizeof *t->children, 64) < 0)
                return -ENOMEM;
        t->children[node->n_children++] = record_number(t->v, child);
        return 0;
}

/* Notes the size that an object must have; that it has it shows when it is read. */
static void note_object(struct verifier *t, const unsigned char *digest, uint64_t size) {
        struct volt_stored *object = fanout_find(&t->v->objects, digest);
        uint64_t noted = 0;

        if (!object || (!__atomic_compare_exchange_n(&object->size, &noted, size, false, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED) && noted != size))
                atomic_store_explicit(&t->v->has_holes, true, memory_order_relaxed);
}

static int look_at_directory(struct verifier *t, struct node *node) {
        struct directory_reader reader;
        struct entry entry;
        int r;

        r = directory_open(t->record.data, t->record.size, &reader);
        if (r < 0)
                return r;
        while ((r = directory_next(&reader, &entry)) > 0) {
                if (entry.type == 'd') {
                        r = add_child(t, node, entry.digest);
                        if (r < 0)
                                return r;
                } else if (entry.type == 'f' && entry.size > 0)
                        note_object(t, entry.digest, entry.size);
        }
        return r;
}

static int look_at_tree(struct verifier *t, struct node *node) {
        struct tree tree;
        int r;

        r = tree_decode(t->record.data, t->record.size, &tree);
        if (r >= 0)
                r = add_child(t, node, tree.digest);
        if (r >= 0 && tree.links)
                r = add_child(t, node, tree.links);
        return r;
}

static int look_at_record(struct verifier *t, struct node *node) {
        enum record_kind kind;
        int r;

        r = record_kind(t->record.data, t->record.size, &kind);
        if (r < 0)
                return r;
        switch (kind) {
        case RECORD_DIRECTORY:
                r = look_at_directory(t, node);
                break;
        case RECORD_TREE:
                r = look_at_tree(t, node);
                break;
        case RECORD_LINKS:
                r = links_check(t->record.data, t->record.size);
                break;
        }
        if (r < 0)
                return r;
        if (node->n_children > 0) {
                node->children = reallocarray(NULL, node->n_children, sizeof *node->children);
                if (!node->children)
                        return -ENOMEM;
                memcpy(node->children, t->children, node->n_children * sizeof *node->children);
        }
        node->kind = (uint16_t) kind;
        return 0;
}

int verify_records(struct verifier *t, struct fanout *f, unsigned number) {
        struct volt_verification *v = t->v;
        struct bucket *bucket = &f->buckets[number];
        _cleanup_close_ int fd = -1;

        if (bucket->n == 0)
                return 0;
        fd = fanout_open_bucket(f, number);
        if (fd < 0)
                return fd;
        for (size_t i = 0; i < bucket->n; i++) {
                struct node node = { .kind = NODE_DAMAGED };
                unsigned char digest[VOLT_DIGEST_SIZE];
                char name[STORED_NAME_SIZE];
                bool is_as_named;
                int r;

                if (job_is_cancelled(v->job))
                        return -ECANCELED;
                stored_name(f, &bucket->files[i], name);
                r = read_whole(fd, name, &t->record);
                is_as_named = r >= 0;
                if (is_as_named) {
                        r = hasher_of(&t->hasher, t->record.data, t->record.size, digest);
                        if (r < 0)
                                return r;
                        is_as_named = memcmp(digest, bucket->files[i].digest, sizeof digest) == 0;
                }
                if (is_as_named) {
                        r = look_at_record(t, &node);
                        if (r < 0 && r != -EBADMSG)
                                return r;
                }
                if (r == -ENOMEM)
                        return r;
                if (node.kind == NODE_DAMAGED) {
                        r = verify_note_damage(v, is_as_named ? 0 : r, "trees", number, name);
                        if (r < 0)
                                return r;
                }
                v->nodes[v->first_record[number] + i] = node;
        }
        return 0;
}

/* Whether what the node names is of the kind that it must be. */
static bool names_fit(const struct volt_verification *v, const struct node *node) {
        for (uint32_t i = 0; i < node->n_children; i++) {
                unsigned wanted = node->kind == RECORD_TREE && i == 1 ? RECORD_LINKS : RECORD_DIRECTORY;

                if (v->nodes[node->children[i]].kind != wanted)
                        return false;
        }
        return true;
}

struct step {
        uint32_t node, next;
};

/* Finds the levels below a directory, those of its children first. No record can lie below itself, since its digest
 * covers the digests of all below it; so no path is longer than there are records. */
static int measure(struct volt_verification *v, uint32_t top, struct step **steps, size_t *allocated, bool *ret_fits) {
        size_t n = 0;

        if (grow(steps, allocated, 1, sizeof **steps, 256) < 0)
                return -ENOMEM;
        (*steps)[n++] = (struct step) { .node = top };
        while (n > 0) {
                struct step *step = &(*steps)[n - 1];
                struct node *node = &v->nodes[step->node];
                uint16_t most = 0;

                while (step->next < node->n_children && v->nodes[node->children[step->next]].levels > 0)
                        step->next++;
                if (step->next < node->n_children) {
                        uint32_t child = node->children[step->next];

                        if (n == MAX_DEPTH) {
                                *ret_fits = false;
                                return 0;
                        }
                        if (grow(steps, allocated, n + 1, sizeof **steps, 256) < 0)
                                return -ENOMEM;
                        (*steps)[n++] = (struct step) { .node = child };
                        continue;
                }
                for (uint32_t i = 0; i < node->n_children; i++)
                        if (v->nodes[node->children[i]].levels > most)
                                most = v->nodes[node->children[i]].levels;
                if (most >= MAX_DEPTH) {
                        *ret_fits = false;
                        return 0;
                }
                node->levels = most + 1;
                n--;
        }
        *ret_fits = true;
        return 0;
}

int verify_levels(struct volt_verification *v) {
        uint32_t n = v->first_record[N_BUCKETS];
        _cleanup_free_ struct step *steps = NULL;
        size_t allocated = 0;
        bool fits;
        int r;

        for (uint32_t i = 0; i < n; i++)
                if (v->nodes[i].kind == NODE_DAMAGED || !names_fit(v, &v->nodes[i])) {
                        atomic_store_explicit(&v->has_holes, true, memory_order_relaxed);
                        return 0;
                }
        for (uint32_t i = 0; i < n; i++) {
                if (v->nodes[i].kind != RECORD_DIRECTORY || v->nodes[i].levels > 0)
                        continue;
                r = measure(v, i, &steps, &allocated, &fits);
                if (r < 0)
                        return r;
                if (!fits) {
                        atomic_store_explicit(&v->has_holes, true, memory_order_relaxed);
                        return 0;
                }
        }
        return 0;
}
