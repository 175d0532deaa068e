/* SPDX-License-Identifier: MIT */
/*
 * maps.c - see maps.h.  Reads by pieces into a buffer on the stack.
 */
#include "os/maps.h"

#include <errno.h>
#include <string.h>

#include "base/print.h"
#include "os/lines.h"

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
    mapping->map_start = os_parse_hex(&line);
    mapping->map_end = os_parse_hex(&line);
    (void)umem_snprintf(mapping->map_perms, sizeof(mapping->map_perms), "%s", line);
    line = next_field(line);
    uintptr_t offset = os_parse_hex(&line);
    const char *path = next_field(next_field(line));
    if (offset == 0 || strncmp(path, mapping->map_path, sizeof(mapping->map_path) - 1) != 0)
        mapping->map_module = mapping->map_start;
    (void)umem_snprintf(mapping->map_path, sizeof(mapping->map_path), "%s", path);
    return addr >= mapping->map_start && addr < mapping->map_end;
}

bool
os_mapping_find(uintptr_t addr, struct os_mapping *mapping)
{
    int saved = errno;
    struct os_lines lines;
    bool found = false;

    memset(mapping, 0, sizeof(*mapping));
    if (os_lines_open(&lines, "/proc/self/maps")) {
        const char *line;
        while (!found && (line = os_lines_next(&lines)) != NULL)
            found = parse_line(line, addr, mapping);
        os_lines_close(&lines);
    }
    errno = saved;
    return found;
}
