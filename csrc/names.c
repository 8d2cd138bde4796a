/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/syscall.h>

#include "names.h"

static bool is_dot_or_dot_dot(const char *name) {
        return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

int each_name(int fd, char *dirents, int (*add)(void *userdata, const char *name, unsigned char type), void *userdata) {
        for (;;) {
                long n = RETRY_EINTR(syscall(SYS_getdents64, fd, dirents, DIRENTS_SIZE));

                if (n < 0 && errno != ENOENT)
                        return -errno;
                if (n <= 0)
                        return 0;
                for (long at = 0; at < n;) {
                        const struct dirent64 *entry = (const struct dirent64 *) (dirents + at);
                        int r;

                        at += entry->d_reclen;
                        if (is_dot_or_dot_dot(entry->d_name))
                                continue;
                        r = add(userdata, entry->d_name, entry->d_type);
                        if (r < 0)
                                return r;
                }
        }
}

static int add_name(void *userdata, const char *name, unsigned char type) {
        struct names *names = userdata;
        int r;

        (void) type;
        r = buffer_append(&names->data, name, strlen(name) + 1);
        if (r >= 0)
                names->n++;
        return r;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

int names_read(struct names *names, int fd, char *dirents) {
        const char *name;
        int r;

        names->data.size = names->n = 0;
        r = each_name(fd, dirents, add_name, names);
        if (r < 0 || names->n == 0)
                return r;
        r = grow(&names->sorted, &names->allocated, names->n, sizeof *names->sorted, 16);
        if (r < 0)
                return r;
        name = (const char *) names->data.data;
        for (size_t i = 0; i < names->n; i++) {
                names->sorted[i] = name;
                name += strlen(name) + 1;
        }
        qsort(names->sorted, names->n, sizeof *names->sorted, compare_names);
        return 0;
}

void names_done(struct names *names) {
        buffer_done(&names->data);
        free(names->sorted);
        *names = (struct names) {};
}
