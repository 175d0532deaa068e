/* SPDX-License-Identifier: MIT */
/*
 * cmd_leaks.c - ::findleaks and its walkers.
 *
 * The search needs a heap of its own, since it adds mappings and segments to
 * the model; what it found is kept until ::findleaks -f.  As in mdb every
 * buffer that nothing reaches is a leak, whether others lead to it or not, and
 * leaks of one cache and stack are one line, the oldest of them standing for
 * all.
 */
#include "shell/bufctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"
#include "leaks/leaks.h"

#define RULE "------------------------------------------------------------------------\n"

struct leak {          /* a line: one cache, one stack */
    addr_t leak_cache; /* 0: none */
    const char *leak_cache_name;
    uint32_t leak_stack;
    uint64_t leak_count;
    uint64_t leak_bytes;
    addr_t leak_bufctl; /* of the oldest, or 0 */
    addr_t leak_oldest; /* the buffer */
    struct addresses leak_buffers;
};

struct shell_leaks {
    struct leak *list;
    size_t count;
    size_t room;
    struct leaks totals; /* its groups are gone */
    bool complete;
};

void
shell_leaks_free(struct shell *sh)
{
    struct shell_leaks *leaks = sh->sh_leaks;

    for (size_t i = 0; leaks != NULL && i < leaks->count; i++)
        addresses_fini(&leaks->list[i].leak_buffers);
    if (leaks != NULL)
        free(leaks->list);
    free(leaks);
    sh->sh_leaks = NULL;
}

/* --- The search --- */

/* The cache of a group, by the one copy of its name in the heap that was searched. */
static const struct heap_cache *
cache_of(const struct shell *sh, const struct heap *searched, const char *name)
{
    for (size_t i = 0; i < searched->heap_cache_count && i < sh->sh_heap.heap_cache_count; i++)
        if (searched->heap_caches[i].cache_name == name)
            return &sh->sh_heap.heap_caches[i];
    return NULL;
}

/* Names of what is in no cache. */
static const char *
plain_name(const char *name)
{
    static const char *const known[] = {"umem_oversize", "vmem_alloc", "mapping"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i], name) == 0)
            return known[i];
    return "unknown";
}

static struct leak *
leak_of(struct shell *sh, const struct heap *searched, const struct leak_group *group)
{
    struct shell_leaks *leaks = sh->sh_leaks;
    const struct heap_cache *cache = cache_of(sh, searched, group->grp_cache);
    addr_t addr = cache != NULL ? cache->cache_addr : 0;
    const char *name = cache != NULL ? cache->cache_name : plain_name(group->grp_cache);

    for (size_t i = 0; i < leaks->count; i++)
        if (leaks->list[i].leak_cache == addr && leaks->list[i].leak_stack == group->grp_stack &&
            strcmp(leaks->list[i].leak_cache_name, name) == 0)
            return &leaks->list[i];
    if (!memory_grow(&leaks->list, &leaks->room, leaks->count, sizeof(*leaks->list)))
        return NULL;
    leaks->list[leaks->count] =
        (struct leak){.leak_cache = addr, .leak_cache_name = name, .leak_stack = group->grp_stack};
    return &leaks->list[leaks->count++];
}

static bool
add_group(struct shell *sh, const struct heap *searched, const struct leak_group *group)
{
    struct leak *leak = leak_of(sh, searched, group);

    for (size_t i = 0; leak != NULL && i < group->grp_address_count; i++)
        if (!addresses_add(&leak->leak_buffers, group->grp_addresses[i]))
            return false;
    if (leak == NULL)
        return false;
    leak->leak_count += group->grp_count;
    leak->leak_bytes += group->grp_bytes;
    return true;
}

/* The oldest of a leak's buffers, by its record; without records the first. */
static void
choose_oldest(struct shell *sh, struct leak *leak)
{
    uint64_t oldest = UINT64_MAX;

    for (size_t i = 0; i < leak->leak_buffers.count; i++) {
        struct block_info info;
        struct block b;
        addr_t buffer = leak->leak_buffers.list[i];
        uint64_t time = UINT64_MAX - 1;
        if (heap_find(&sh->sh_heap, buffer, &b)) {
            heap_block_info(&sh->sh_heap, b, &info);
            if (info.blk_audited)
                time = info.blk_time;
        }
        if (time >= oldest)
            continue;
        oldest = time;
        leak->leak_oldest = buffer;
        leak->leak_bufctl = time < UINT64_MAX - 1 ? shell_bufctl_of(sh, buffer) : 0;
    }
}

static int
larger_first(const void *a, const void *b)
{
    const struct leak *x = a;
    const struct leak *y = b;
    if (x->leak_bytes != y->leak_bytes)
        return x->leak_bytes < y->leak_bytes ? 1 : -1;
    return (x->leak_oldest > y->leak_oldest) - (x->leak_oldest < y->leak_oldest);
}

static bool
keep(struct shell *sh, const struct heap *searched, const struct leaks *found)
{
    struct shell_leaks *leaks = sh->sh_leaks;

    for (size_t i = 0; i < found->lks_group_count; i++)
        if (!add_group(sh, searched, &found->lks_groups[i]))
            return false;
    for (size_t i = 0; i < leaks->count; i++)
        choose_oldest(sh, &leaks->list[i]);
    if (leaks->count > 0)
        qsort(leaks->list, leaks->count, sizeof(*leaks->list), larger_first);
    leaks->totals = *found;
    leaks->totals.lks_groups = NULL;
    leaks->totals.lks_group_count = 0;
    leaks->complete = heap_is_complete(searched);
    return true;
}

/* Searches where that has not been done yet; false after shell_error(). */
static bool
search(struct shell *sh)
{
    const struct leak_options options = {.opt_addresses = SIZE_MAX};
    struct heap searched;
    struct leaks found = {0};
    char why[SHELL_WHY_MAX] = "no memory";

    if (sh->sh_leaks != NULL)
        return true;
    sh->sh_leaks = calloc(1, sizeof(*sh->sh_leaks));
    bool ok =
        sh->sh_leaks != NULL && heap_open(&searched, sh->sh_target, why, sizeof(why)) == HEAP_OK;
    if (ok) {
        ok = leaks_find(&searched, &options, &found) == 0 && keep(sh, &searched, &found);
        leaks_fini(&found);
        heap_close(&searched);
    }
    if (ok)
        return true;
    shell_leaks_free(sh);
    return shell_error(sh, "findleaks: %s", shell_interrupted ? "interrupted" : why);
}

/* --- Telling --- */

static const char *
plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static addr_t
handle_of(const struct leak *leak)
{
    return leak->leak_bufctl != 0 ? leak->leak_bufctl : leak->leak_oldest;
}

static const char *
caller_of(struct shell *sh, const struct leak *leak, char *name)
{
    addr_t frame;
    if (heap_stack(&sh->sh_heap, leak->leak_stack, &frame, 1) == 0)
        return "?";
    return shell_name(sh, frame, true, name);
}

/* Leaks of caches, or those of no cache; their number and bytes are added up. */
static void
print_table(struct shell *sh, bool of_caches, const struct call *call)
{
    const struct shell_leaks *leaks = sh->sh_leaks;
    uint64_t count = 0;
    uint64_t bytes = 0;
    bool any = false;
    bool audited = false;

    for (size_t i = 0; i < leaks->count; i++)
        audited = audited || leaks->list[i].leak_bufctl != 0;
    for (size_t i = 0; i < leaks->count; i++) {
        const struct leak *leak = &leaks->list[i];
        char name[SHELL_NAME_MAX];
        if ((leak->leak_cache != 0) != of_caches ||
            (call_has_address(call) && !shell_stack_has(sh, leak->leak_stack, call->call_addr)))
            continue;
        if (!any)
            printf("%-16s %7s %16s %s\n", of_caches ? "CACHE" : "BYTES", "LEAKED",
                   audited ? "BUFCTL" : "BUFFER", "CALLER");
        any = true;
        if (of_caches)
            printf("%016" PRIx64, leak->leak_cache);
        else
            printf("%-16" PRIu64, leak->leak_bytes);
        printf(" %7" PRIu64 " %016" PRIx64 " %s\n", leak->leak_count, handle_of(leak),
               caller_of(sh, leak, name));
        count += leak->leak_count;
        bytes += leak->leak_bytes;
    }
    if (any)
        printf(RULE "%16s %7" PRIu64 " %s%s, %" PRIu64 " byte%s\n", "Total", count,
               of_caches ? "buffer" : "oversize leak", plural(count), bytes, plural(bytes));
    sh->sh_found = sh->sh_found || any;
}

static void
print_detail(struct shell *sh, const struct leak *leak)
{
    printf("%s leak: %" PRIu64 " buffer%s, %" PRIu64 " bytes\n", leak->leak_cache_name,
           leak->leak_count, plural(leak->leak_count), leak->leak_bytes);
    if (leak->leak_bufctl != 0)
        shell_print_bufctl(sh, leak->leak_bufctl, true);
    else
        printf("%16s\n%16" PRIx64 "\n", "BUFADDR", leak->leak_oldest);
}

static void
print_figure(const char *what, uint64_t value)
{
    printf("findleaks: %29s => %" PRIu64 "\n", what, value);
}

static void
print_figures(const struct shell *sh)
{
    const struct shell_leaks *leaks = sh->sh_leaks;
    const struct leaks *t = &leaks->totals;

    print_figure("live buffers", sh->sh_heap.heap_live_buffers);
    print_figure("live bytes", sh->sh_heap.heap_live_bytes);
    print_figure("bytes scanned", t->lks_scanned);
    print_figure("leaked buffers", t->lks_count);
    print_figure("leaked bytes", t->lks_bytes);
    print_figure("direct leaks", t->lks_kind_count[LEAK_DIRECT]);
    print_figure("indirect leaks", t->lks_kind_count[LEAK_INDIRECT]);
    print_figure("possible leaks", t->lks_kind_count[LEAK_POSSIBLE]);
    print_figure("mappings that nothing reaches", t->lks_mappings);
    if (!leaks->complete)
        printf("findleaks: %29s\n", "the target is incomplete");
    printf("findleaks:\n");
}

static bool
dcmd_findleaks(struct shell *sh, const struct call *call)
{
    bool detail = false;
    bool fresh = false;
    bool verbose = false;
    const struct dcmd_option options[] = {{'d', DCMD_FLAG, &detail, NULL},
                                          {'f', DCMD_FLAG, &fresh, NULL},
                                          {'v', DCMD_FLAG, &verbose, NULL},
                                          {0}};

    if (!dcmd_options(sh, call, options, 0, NULL))
        return false;
    if (fresh)
        shell_leaks_free(sh);
    if (!search(sh))
        return false;
    const struct shell_leaks *leaks = sh->sh_leaks;
    if (!call_feeds(call)) {
        if (verbose)
            print_figures(sh);
        print_table(sh, true, call);
        print_table(sh, false, call);
        if (detail)
            putchar('\n');
    }
    for (size_t i = 0; i < leaks->count; i++) {
        const struct leak *leak = &leaks->list[i];
        if (call_has_address(call) && !shell_stack_has(sh, leak->leak_stack, call->call_addr))
            continue;
        if (call_feeds(call) && !shell_say_address(sh, handle_of(leak)))
            return false;
        if (detail && !call_feeds(call))
            print_detail(sh, leak);
    }
    if (leaks->count == 0 && !call_feeds(call))
        printf("findleaks: no memory leaks detected\n");
    return true;
}

/* --- Walkers --- */

static const struct leak *
find_leak(struct shell *sh, addr_t addr)
{
    for (size_t i = 0; i < sh->sh_leaks->count; i++)
        if (sh->sh_leaks->list[i].leak_bufctl == addr || sh->sh_leaks->list[i].leak_oldest == addr)
            return &sh->sh_leaks->list[i];
    shell_complain(sh, "0x%" PRIx64 " stands for no leak; ::walk leak tells those that do", addr);
    return NULL;
}

static bool
add_buffers(struct shell *sh, const struct leak *leak, bool bufctls, struct addresses *out)
{
    for (size_t i = 0; i < leak->leak_buffers.count; i++) {
        addr_t addr = leak->leak_buffers.list[i];
        addr_t bufctl = bufctls ? shell_bufctl_of(sh, addr) : 0;
        if (!addresses_add(out, bufctl != 0 ? bufctl : addr))
            return shell_error(sh, shell_interrupted ? "interrupted" : "no memory");
    }
    return true;
}

static bool
walk_leak(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    if (!search(sh))
        return false;
    if (walk->walk_has_addr) {
        const struct leak *leak = find_leak(sh, walk->walk_addr);
        return leak != NULL && add_buffers(sh, leak, true, out);
    }
    for (size_t i = 0; i < sh->sh_leaks->count; i++)
        if (!addresses_add(out, handle_of(&sh->sh_leaks->list[i])))
            return shell_error(sh, "no memory");
    return true;
}

static bool
walk_leakbuf(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    if (!search(sh))
        return false;
    if (walk->walk_has_addr) {
        const struct leak *leak = find_leak(sh, walk->walk_addr);
        return leak != NULL && add_buffers(sh, leak, false, out);
    }
    for (size_t i = 0; i < sh->sh_leaks->count; i++)
        if (!add_buffers(sh, &sh->sh_leaks->list[i], false, out))
            return false;
    return true;
}

const struct dcmd dcmds_leaks[] = {
    {"findleaks", "[-dfv]", "find buffers that nothing points to any more",
     "  One line for each cache and allocating stack, with the bufctl of the oldest of its leaks.\n"
     "  An address before it is a function or place: only leaks that have it in their stack.\n"
     "  The search is made once; umem leaks makes the same, and tells direct leaks from what\n"
     "  hangs on them.\n"
     "    -d   also the record and the stack of each\n"
     "    -f   search again\n"
     "    -v   figures of the search\n",
     "::findleaks -dv\nmain::findleaks\n::findleaks | ::bufctl -v", dcmd_findleaks,
     DCMD_HEAP | DCMD_FEEDS},
    {0}};

const struct walker walkers_leaks[] = {
    {"leak", "the bufctl that stands for each leak; from one of these, those of all its buffers",
     WALK_EITHER, true, walk_leak},
    {"leakbuf", "leaked buffers; from a leak's bufctl, those of that leak", WALK_EITHER, true,
     walk_leakbuf},
    {0}};
