/* SPDX-License-Identifier: MIT */
/*
 * maps.c - see maps.h.  Reads by pieces into a buffer on the stack, by raw
 * system calls (open() and read() of libc are cancellation points).
 */
#include "os/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/print.h"

/* Of a line, about 75 characters come before the path. */
#define BUFFER_SIZE (OS_MAPPING_PATH + 512)

/* A hexadecimal number; moves *p behind it and the one character that follows. */
static uintptr_t
parse_hex(const char **p)
{
    uintptr_t n = 0;

    for (;; (*p)++) {
        char c = **p;
        if (c >= '0' && c <= '9')
            n = n << 4 | (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            n = n << 4 | (uintptr_t)(c - 'a' + 10);
        else
            break;
    }
    if (**p != '\0')
        (*p)++;
    return n;
}

/* Past the field at p and the blanks behind it. */
static const char *
next_field(const char *p)
{
    p += strcspn(p, " ");
    return p + strspn(p, " ");
}

/*
 * "start-end perms offset device inode   path".  True: addr lies in it.  The
 * mapping passed holds the line before.
 */
static bool
parse_line(const char *line, uintptr_t addr, struct os_mapping *mapping)
{
    mapping->map_start = parse_hex(&line);
    mapping->map_end = parse_hex(&line);
    (void)umem_snprintf(mapping->map_perms, sizeof(mapping->map_perms), "%s", line);
    line = next_field(line);
    uintptr_t offset = parse_hex(&line);
    const char *path = next_field(next_field(line));
    if (offset == 0 || strncmp(path, mapping->map_path, sizeof(mapping->map_path) - 1) != 0)
        mapping->map_module = mapping->map_start;
    (void)umem_snprintf(mapping->map_path, sizeof(mapping->map_path), "%s", path);
    return addr >= mapping->map_start && addr < mapping->map_end;
}

static bool
search(int fd, uintptr_t addr, struct os_mapping *mapping)
{
    char buffer[BUFFER_SIZE];
    size_t have = 0;
    bool skipping = false; /* the rest of a line that did not fit */

    for (;;) {
        long n = syscall(SYS_read, fd, buffer + have, sizeof(buffer) - 1 - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        have += (size_t)n;
        buffer[have] = '\0';
        char *line = buffer;
        for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            if (!skipping && parse_line(line, addr, mapping))
                return true;
            skipping = false;
        }
        have = strlen(line);
        memmove(buffer, line, have);
        if (have < sizeof(buffer) - 1)
            continue;
        buffer[have] = '\0';
        if (!skipping && parse_line(buffer, addr, mapping))
            return true;
        skipping = true;
        have = 0;
    }
}

bool
os_mapping_find(uintptr_t addr, struct os_mapping *mapping)
{
    int saved = errno;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    bool found = false;

    memset(mapping, 0, sizeof(*mapping));
    if (fd >= 0) {
        found = search(fd, addr, mapping);
        (void)syscall(SYS_close, fd);
    }
    errno = saved;
    return found;
}
