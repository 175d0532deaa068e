/* SPDX-License-Identifier: MIT */
/*
 * copy.c - takes a live process's writable memory over, so that it can run on
 * while it is looked at.
 */
#include <stdio.h>
#include <unistd.h>

#include "heap/heap.h"

/* Of what is free here, a copy may take this part; a larger process stays stopped instead. */
#define COPY_FRACTION 2

/* Bytes in memory of the process, or UINT64_MAX where nobody says. */
static uint64_t
resident_bytes(pid_t pid)
{
    char path[64];
    unsigned long size;
    unsigned long resident;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return UINT64_MAX;
    int n = fscanf(file, "%lu %lu", &size, &resident);
    fclose(file);
    return n == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : UINT64_MAX;
}

bool
heap_copy_fits(const struct target *t)
{
    uint64_t room = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

    return target_is_live(t) && resident_bytes(target_pid(t)) <= room / COPY_FRACTION;
}

void
heap_copy_target(struct target *t)
{
    const struct mapping *maps;
    const unsigned want = MAPPING_READ | MAPPING_WRITE;

    if (!heap_copy_fits(t))
        return;
    (void)target_fork(t); /* else it stays stopped until all is copied */
    size_t n = target_mappings(t, &maps);
    for (size_t i = 0; i < n; i++)
        if ((maps[i].map_flags & want) == want)
            target_copy(t, maps[i].map_start, maps[i].map_end);
    target_resume(t);
}
