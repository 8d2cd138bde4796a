/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

#include "tests/recode.h"
#include "msgpack.h"
#include "tap.h"

#define ENTRY_METADATA "\x96\xcd\x01\xa4\x00\x00\xce\x65\x53\xf1\x00\x05\x91\x92\xc4\x06user.x\xc4\x01\x00"
#define HELLO "\x58\x91\xb5\xb5\x22\xd5\xdf\x08\x6d\x0f\xf0\xb1\x10\xfb\xd9\xd2" \
              "\x1b\xb4\xfc\x71\x63\xaf\x34\xd0\x82\x86\xa2\xe8\x46\xf6\xbe\x03"

/* The tree of docs/formats.md. */
static const char golden[] = "\x92\xa3" "dir\x93"
        "\x95\xa1" "f\xc4\x01" "a" ENTRY_METADATA "\x06\xc4\x20" HELLO
        "\x95\xa1" "f\xc4\x01" "b" ENTRY_METADATA "\x06\xc4\x20" HELLO
        "\x94\xa1" "l\xc4\x01\xff\x96\xcd\x01\xff\x21\x22\xff\x00\x90\xc4\x01" "a";
#define GOLDEN_SIZE (sizeof golden - 1)

static const unsigned char *bytes(const char *text) {
        return (const unsigned char *) text;
}

static void test_fields(void) {
        const unsigned char *at, *name, *value;
        size_t name_size, value_size;
        struct directory_reader reader;
        struct entry entry;

        must(directory_open(bytes(golden), GOLDEN_SIZE, &reader) == 0);
        ok(directory_next(&reader, &entry) == 1 && entry.type == 'f' && entry.name_size == 1 && entry.name[0] == 'a' &&
           entry.metadata.mode == 0644 && entry.metadata.uid == 0 && entry.metadata.gid == 0 &&
           entry.metadata.seconds == 1700000000 && entry.metadata.nanoseconds == 5 && entry.size == 6 &&
           memcmp(entry.digest, HELLO, VOLT_DIGEST_SIZE) == 0, "a file");
        at = entry.metadata.xattrs;
        ok(entry.metadata.n_xattrs == 1 &&
           xattr_next(&at, entry.metadata.xattrs + entry.metadata.xattrs_size, &name, &name_size, &value, &value_size) == 1 &&
           name_size == 6 && memcmp(name, "user.x", 6) == 0 && value_size == 1 && value[0] == 0 &&
           xattr_next(&at, entry.metadata.xattrs + entry.metadata.xattrs_size, &name, &name_size, &value, &value_size) == 0,
           "its extended attribute");
        ok(directory_next(&reader, &entry) == 1 && entry.name[0] == 'b', "the next one");
        ok(directory_next(&reader, &entry) == 1 && entry.type == 'l' && entry.name[0] == 0xff &&
           entry.metadata.uid == 33 && entry.metadata.gid == 34 && entry.metadata.seconds == -1 &&
           entry.target_size == 1 && entry.target[0] == 'a', "a symlink, from before 1970");
        ok(directory_next(&reader, &entry) == 0 && directory_next(&reader, &entry) == 0, "the end, however often it is asked");
}

static void test_again(void) {
        _cleanup_buffer_ struct buffer again = {};

        ok(recode(bytes(golden), GOLDEN_SIZE, &again) == RECORD_DIRECTORY && again.size == GOLDEN_SIZE &&
           memcmp(again.data, golden, GOLDEN_SIZE) == 0, "it is written as it was read");
}

/* Of their very size, so that AddressSanitizer sees one byte too many. */
static void test_cut_off(void) {
        bool refused = true;

        for (size_t size = 0; size < GOLDEN_SIZE; size++) {
                _cleanup_free_ unsigned char *part = malloc(size);
                _cleanup_buffer_ struct buffer again = {};

                must(part || size == 0);
                if (size > 0)
                        memcpy(part, golden, size);
                refused = refused && recode(part, size, &again) == -EBADMSG;
        }
        ok(refused, "a record that ends anywhere too early");
}

static void test_untouched(void) {
        const struct tree before = { .digest = bytes("untouched") };
        struct tree tree = before;
        struct directory_reader reader;
        struct entry entry = { .size = 4711 };
        enum record_kind kind = RECORD_LINKS;
        unsigned char damaged[GOLDEN_SIZE];

        memcpy(damaged, golden, sizeof damaged);
        damaged[6] = 0x96;
        must(directory_open(damaged, sizeof damaged, &reader) == 0);
        ok(directory_next(&reader, &entry) == -EBADMSG && entry.size == 4711 && reader.left == 3 &&
           directory_next(&reader, &entry) == -EBADMSG, "no entry, and none behind it");
        ok(tree_decode(bytes(golden), GOLDEN_SIZE, &tree) == -EBADMSG && tree.digest == before.digest, "a directory is no tree");
        ok(record_kind(bytes("\x93\xa3" "dir\x90\x90"), 7, &kind) == -EBADMSG && kind == RECORD_LINKS, "of no kind");
}

static void test_tree(void) {
        static const char text[] = "\x94\xa4tree\x96\xcd\x01\xed\x00\x00\x00\x00\x90\xc4\x20" HELLO "\xc4\x20" HELLO;
        unsigned char alone[sizeof text - 1 - 33];
        struct tree tree;

        ok(tree_decode(bytes(text), sizeof text - 1, &tree) == 0 && tree.metadata.mode == 0755 && tree.links &&
           memcmp(tree.links, HELLO, VOLT_DIGEST_SIZE) == 0, "a tree with hard links");
        ok(tree_decode(bytes(text), sizeof text, &tree) == -EBADMSG, "a tree with a byte behind it");
        memcpy(alone, text, sizeof alone);
        alone[sizeof alone - 1] = 0xc0;
        ok(tree_decode(alone, sizeof alone, &tree) == 0 && !tree.links, "a tree without hard links");
}

struct number {
        const char *encoded;
        size_t size;
        uint64_t value;
};

/* Bytes, how many, and what they stand for. */
#define NUMBER(text, number) { text, sizeof text - 1, number }

static void test_numbers(void) {
        static const struct number shortest[] = {
                NUMBER("\x00", 0), NUMBER("\x7f", 127), NUMBER("\xcc\x80", 128), NUMBER("\xcc\xff", 255),
                NUMBER("\xcd\x01\x00", 256), NUMBER("\xcd\xff\xff", 65535), NUMBER("\xce\x00\x01\x00\x00", 65536),
                NUMBER("\xce\xff\xff\xff\xff", UINT32_MAX), NUMBER("\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 1ULL << 32),
                NUMBER("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", UINT64_MAX),
        };
        static const struct number negative[] = {
                NUMBER("\xff", (uint64_t) -1), NUMBER("\xe0", (uint64_t) -32), NUMBER("\xd0\xdf", (uint64_t) -33),
                NUMBER("\xd0\x80", (uint64_t) -128), NUMBER("\xd1\xff\x7f", (uint64_t) -129),
                NUMBER("\xd1\x80\x00", (uint64_t) -32768), NUMBER("\xd2\xff\xff\x7f\xff", (uint64_t) -32769),
                NUMBER("\xd2\x80\x00\x00\x00", (uint64_t) INT32_MIN),
                NUMBER("\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", (uint64_t) INT32_MIN - 1),
                NUMBER("\xd3\x80\x00\x00\x00\x00\x00\x00\x00", (uint64_t) INT64_MIN),
        };
        /* Longer than need be, no number at all, cut off, or beyond 64 bits with a sign. */
        static const struct number wrong[] = {
                NUMBER("\xcc\x7f", 0), NUMBER("\xcd\x00\xff", 0), NUMBER("\xce\x00\x00\xff\xff", 0),
                NUMBER("\xcf\x00\x00\x00\x00\xff\xff\xff\xff", 0), NUMBER("\xd0\xe0", 0), NUMBER("\xd0\x01", 0),
                NUMBER("\xd1\xff\x80", 0), NUMBER("\xd1\x01\x00", 0), NUMBER("\xd2\xff\xff\x80\x00", 0),
                NUMBER("\xd3\xff\xff\xff\xff\x80\x00\x00\x00", 0), NUMBER("\xd3\x00\x00\x00\x00\x00\x00\x00\x01", 0),
                NUMBER("\xc0", 0), NUMBER("\xc2", 0), NUMBER("\xca\x00\x00\x00\x00", 0), NUMBER("\xa1" "1", 0),
                NUMBER("", 0), NUMBER("\xcc", 0), NUMBER("\xcf\x01", 0), NUMBER("\xd3\x80", 0),
                NUMBER("\xcf\x80\x00\x00\x00\x00\x00\x00\x00", 0),
        };
        bool right = true;

        for (size_t i = 0; i < sizeof shortest / sizeof *shortest; i++) {
                const struct number *n = &shortest[i];
                struct input in = { .at = bytes(n->encoded), .end = bytes(n->encoded) + n->size };
                _cleanup_buffer_ struct buffer again = {};
                uint64_t value = 4711;

                right = right && (n->value == 0 || (mp_read_unsigned(&in, n->value - 1, &value) == -EBADMSG && value == 4711));
                in.at = bytes(n->encoded);
                right = right && mp_read_unsigned(&in, n->value, &value) == 0 && value == n->value && in.at == in.end;
                right = right && mp_write_unsigned(&again, n->value) == 0 && again.size == n->size &&
                        memcmp(again.data, n->encoded, n->size) == 0;
        }
        ok(right, "unsigned numbers, and none above the most");
        right = true;
        for (size_t i = 0; i < sizeof negative / sizeof *negative; i++) {
                const struct number *n = &negative[i];
                struct input in = { .at = bytes(n->encoded), .end = bytes(n->encoded) + n->size };
                _cleanup_buffer_ struct buffer again = {};
                uint64_t value;
                int64_t found;

                right = right && mp_read_unsigned(&in, UINT64_MAX, &value) == -EBADMSG;
                in.at = bytes(n->encoded);
                right = right && mp_read_signed(&in, &found) == 0 && (uint64_t) found == n->value && in.at == in.end;
                right = right && mp_write_signed(&again, (int64_t) n->value) == 0 && again.size == n->size &&
                        memcmp(again.data, n->encoded, n->size) == 0;
        }
        ok(right, "negative numbers");
        right = true;
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                struct input in = { .at = bytes(wrong[i].encoded), .end = bytes(wrong[i].encoded) + wrong[i].size };
                int64_t found = 4711;

                right = right && mp_read_signed(&in, &found) == -EBADMSG && found == 4711;
        }
        ok(right, "no number but in its shortest form");
}

static void test_sizes(void) {
        /* Array headers and byte strings in a form that is too long, and what is neither. */
        static const struct number arrays[] = {
                NUMBER("\xdc\x00\x0f", 0), NUMBER("\xdd\x00\x00\xff\xff", 0), NUMBER("\xdc\x00", 0), NUMBER("\x80", 0), NUMBER("", 0),
        };
        static const struct number strings[] = {
                NUMBER("\xc5\x00\x01x", 0), NUMBER("\xc6\x00\x00\x00\x01x", 0), NUMBER("\xc4\x02x", 0), NUMBER("\xa1x", 0),
                NUMBER("\xc6\xff\xff\xff\xffx", 0), NUMBER("\xc4", 0), NUMBER("", 0),
        };
        const unsigned char *data;
        bool right = true;
        uint32_t n;
        size_t size;

        for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
                struct input in = { .at = bytes(arrays[i].encoded), .end = bytes(arrays[i].encoded) + arrays[i].size };

                right = right && mp_read_array(&in, &n) == -EBADMSG;
        }
        for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
                struct input in = { .at = bytes(strings[i].encoded), .end = bytes(strings[i].encoded) + strings[i].size };

                right = right && mp_read_bytes(&in, 0, SIZE_MAX, &data, &size) == -EBADMSG;
        }
        ok(right, "no array and no bytes but in their shortest form, all there");
}

static void test_writer(void) {
        static const uint32_t counts[] = { 0, 1, 15, 16, 65535, 65536 };
        bool right = true;

        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                struct directory_writer writer __attribute__((cleanup(directory_writer_done))) = {};
                struct directory_reader reader;
                const unsigned char *data;
                struct entry entry;
                uint32_t n = 0;
                size_t size;

                for (uint32_t number = 0; number < counts[i]; number++) {
                        char name[16];
                        const struct entry fifo = { .type = 'p', .name = bytes(name), .name_size = 6 };

                        (void) snprintf(name, sizeof name, "%06u", number);
                        must(directory_add(&writer, &fifo) == 0);
                }
                must(directory_finish(&writer, &data, &size) == 0);
                must(directory_open(data, size, &reader) == 0);
                while (directory_next(&reader, &entry) == 1)
                        n++;
                right = right && n == counts[i] && reader.left == 0;
        }
        ok(right, "directories of 0 to 65536 entries");
}

static void test_equal(void) {
        const struct metadata plain = { .mode = 0644, .seconds = 1 };
        struct metadata other = plain;

        ok(metadata_equal(&plain, &other), "equal metadata");
        other.xattrs = bytes("\x92\xc4\x06user.x\xc4\x00");
        other.xattrs_size = 11;
        other.n_xattrs = 1;
        ok(!metadata_equal(&plain, &other) && metadata_equal(&other, &other), "an attribute more");
        other = plain;
        other.nanoseconds = 1;
        ok(!metadata_equal(&plain, &other), "a nanosecond later");
}

int main(void) {
        test_fields();
        test_again();
        test_cut_off();
        test_untouched();
        test_tree();
        test_numbers();
        test_sizes();
        test_writer();
        test_equal();
        return tap_done();
}
