/* SPDX-License-Identifier: MIT */
/*
 * maps.c - lines of /proc/PID/maps as mappings: of a live process, and of a core
 * that kept them.
 */
#include "target/target_impl.h"

#include <stdio.h>
#include <string.h>

void
maps_add_line(struct target *t, const char *line)
{
    unsigned long long start;
    unsigned long long end;
    unsigned long long offset;
    unsigned long long inode;
    char access[5];
    int name = 0;
    if (sscanf(line, "%llx-%llx %4s %llx %*s %llu %n", &start, &end, access, &offset, &inode,
               &name) < 5)
        return;
    const char *text = name > 0 ? line + name : "";
    unsigned flags = 0;
    flags |= access[0] == 'r' ? MAPPING_READ | MAPPING_PRESENT : 0;
    flags |= access[1] == 'w' ? MAPPING_WRITE : 0;
    flags |= access[2] == 'x' ? MAPPING_EXEC : 0;
    flags |= access[3] == 'p' ? MAPPING_PRIVATE : 0;
    flags |= text[0] != '/' ? MAPPING_ANONYMOUS : 0;
    /* Pages of the kernel's, which it does not let others read. */
    if (strncmp(text, "[vvar", 5) == 0 || strcmp(text, "[vsyscall]") == 0)
        flags &= ~(unsigned)MAPPING_PRESENT;
    target_add_mapping(t, start, end, flags, text, offset)->map_inode = inode;
}
