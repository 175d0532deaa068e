/* SPDX-License-Identifier: MIT */
/*
 * maps.h - which mapping of the process an address lies in, from
 * /proc/self/maps: for reports, when nothing else is to be trusted.
 */
#ifndef UMEM_MAPS_H
#define UMEM_MAPS_H

#include "base/base.h"

/* A longer path is cut. */
#define OS_MAPPING_PATH 512

struct os_mapping {
    uintptr_t map_start;
    uintptr_t map_end;
    uintptr_t map_module; /* start of the mapping of the same file's beginning, before this one */
    char map_perms[5];    /* "r-xp" */
    char map_path[OS_MAPPING_PATH]; /* file, "[stack]" and the like, or "" */
};

/* False: addr is in no mapping, or /proc can't be read.  Keeps errno. (AS) */
bool os_mapping_find(uintptr_t addr, struct os_mapping *mapping);

#endif
