/* SPDX-License-Identifier: MIT */
/*
 * sites.h - who holds what: every live block, and every leaked one, summed up
 * by the stack that allocated it and by cache.  What pictures are made of.
 */
#ifndef ANALYSE_REPORT_SITES_H
#define ANALYSE_REPORT_SITES_H

#include "leaks/leaks.h"
#include "report/stacks.h"

struct site {
    uint32_t site_stack; /* id, 0: not recorded */
    const char *site_cache;
    struct leak_group site_live;             /* all of its blocks, leaked or not */
    uint64_t site_leaked[LEAK_POSSIBLE + 1]; /* of them, by kind */
    uint64_t site_leaked_bytes[LEAK_POSSIBLE + 1];
};

struct sites {
    struct site *list; /* most bytes first */
    size_t count;
    uint64_t sts_buffers; /* in sum */
    uint64_t sts_bytes;
    uint64_t sts_leaked;
    uint64_t sts_leaked_bytes;
};

/* leaks: as leaks_find() left them, for all kinds and caches.  False: no memory. */
bool sites_read(struct heap *h, const struct leaks *leaks, struct sites *sites);
void sites_fini(struct sites *sites);

uint64_t site_leaked(const struct site *site);
uint64_t site_leaked_bytes(const struct site *site);

/*
 * Calls fn for every frame of the stack, innermost first, with the functions
 * at that address: the last one, and before it those that were inlined there.
 * Where no stack was recorded there are two frames without an address, so that
 * all formats say the same of it: the cache, and around it SITE_NO_STACK.
 */
#define SITE_NO_STACK "[no stack recorded]"
typedef void site_frame_fn(void *arg, addr_t addr, const struct symbol *symbols, size_t count);
void site_frames(struct heap *h, struct symboliser *s, const struct site *site, site_frame_fn *fn,
                 void *arg);

#endif
