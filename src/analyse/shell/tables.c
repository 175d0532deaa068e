/* SPDX-License-Identifier: MIT */
/*
 * tables.c - all dcmds and walkers, put together from the groups of the files
 * that have them, sorted by name.
 */
#include "shell/shell.h"

#include <stdlib.h>
#include <string.h>

/* More than there are; a group that does not fit is a mistake of ours. */
#define ROWS_MAX 128

static const struct dcmd *const dcmd_groups[] = {
    dcmds_basic,     dcmds_memory, dcmds_threads, dcmds_caches, dcmds_bufctls,
    dcmds_logs,      dcmds_arenas, dcmds_leaks,   dcmds_whatis, dcmds_walk,
    dcmds_stackinfo, dcmds_look,   dcmds_sizes};
static const struct walker *const walker_groups[] = {
    walkers_caches, walkers_bufctls, walkers_arenas, walkers_leaks, walkers_threads};

static const struct dcmd *dcmds[ROWS_MAX];
static const struct walker *walkers[ROWS_MAX];
static size_t dcmd_count, walker_count;

static int
compare_dcmds(const void *a, const void *b)
{
    return strcmp((*(const struct dcmd *const *)a)->dcmd_name,
                  (*(const struct dcmd *const *)b)->dcmd_name);
}

static int
compare_walkers(const void *a, const void *b)
{
    return strcmp((*(const struct walker *const *)a)->walker_name,
                  (*(const struct walker *const *)b)->walker_name);
}

static void
gather(void)
{
    if (dcmd_count > 0)
        return;
    for (size_t g = 0; g < sizeof(dcmd_groups) / sizeof(dcmd_groups[0]); g++)
        for (const struct dcmd *row = dcmd_groups[g]; row->dcmd_name != NULL; row++) {
            if (dcmd_count == ROWS_MAX)
                abort();
            dcmds[dcmd_count++] = row;
        }
    for (size_t g = 0; g < sizeof(walker_groups) / sizeof(walker_groups[0]); g++)
        for (const struct walker *row = walker_groups[g]; row->walker_name != NULL; row++) {
            if (walker_count == ROWS_MAX)
                abort();
            walkers[walker_count++] = row;
        }
    qsort(dcmds, dcmd_count, sizeof(dcmds[0]), compare_dcmds);
    qsort(walkers, walker_count, sizeof(walkers[0]), compare_walkers);
}

const struct dcmd *
dcmd_at(size_t index)
{
    gather();
    return index < dcmd_count ? dcmds[index] : NULL;
}

const struct walker *
walker_at(size_t index)
{
    gather();
    return index < walker_count ? walkers[index] : NULL;
}

const struct dcmd *
dcmd_find(const char *name)
{
    const struct dcmd *dcmd;
    for (size_t i = 0; (dcmd = dcmd_at(i)) != NULL; i++)
        if (strcmp(dcmd->dcmd_name, name) == 0)
            return dcmd;
    return NULL;
}

const struct walker *
walker_find(const char *name)
{
    const struct walker *walker;
    for (size_t i = 0; (walker = walker_at(i)) != NULL; i++)
        if (strcmp(walker->walker_name, name) == 0)
            return walker;
    return NULL;
}
