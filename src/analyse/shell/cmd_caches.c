/* SPDX-License-Identifier: MIT */
/*
 * cmd_caches.c - dcmds about caches as a whole: ::umem_cache, ::umastat,
 * ::umem_status.
 */
#include "shell/shell.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/format.h"

static bool
print_cache(struct shell *sh, const struct call *call, const struct heap_cache *cache,
            const char *part)
{
    if (part != NULL && strstr(cache->cache_name, part) == NULL)
        return true;
    if (call_feeds(call))
        return shell_say_address(sh, cache->cache_addr);
    printf("%016" PRIx64 " %-25s %04" PRIx32 " %08" PRIx32 " %8" PRIu64 " %8" PRIu64 "\n",
           cache->cache_addr, cache->cache_name, cache->cache_flags, cache->cache_cflags,
           cache->cache_bufsize, cache->cache_total);
    return true;
}

static bool
dcmd_umem_cache(struct shell *sh, const struct call *call)
{
    const char *part = NULL;
    const struct heap_cache *one = NULL;
    const struct dcmd_option options[] = {{'n', DCMD_TEXT, &part, NULL}, {0}};

    if (!dcmd_options(sh, call, options, 0, NULL) || !shell_one_cache(sh, call, &one))
        return false;
    if (call_is_first(call) && !call_feeds(call))
        printf("%-16s %-25s %4s %8s %8s %8s\n", "ADDR", "NAME", "FLAG", "CFLAG", "BUFSIZE",
               "BUFTOTL");
    if (one != NULL)
        return print_cache(sh, call, one, part);
    for (size_t i = 0; i < sh->sh_heap.heap_cache_count; i++)
        if (!print_cache(sh, call, &sh->sh_heap.heap_caches[i], part))
            return false;
    return true;
}

/* --- ::umastat --- */

#define CACHE_RULE                                                                                 \
    "------------------------- ------ ------- ------- ------- ------- --------- -----\n"
#define ARENA_RULE "------------------------- --------- --------- --------- --------- -----\n"
#define THREAD_RULE "------------------------- ------- ---------\n"

struct sum {
    uint64_t bytes;
    uint64_t allocs;
    uint64_t fails;
};

/* Bytes as the table has them: 4K, or as they are. */
static const char *
memory_text(bool human, uint64_t bytes, struct text *text)
{
    if (human)
        *text = format_size(bytes);
    else
        snprintf(text->s, sizeof(text->s), "%" PRIu64, bytes);
    return text->s;
}

static void
print_threads(const struct heap *h)
{
    printf("%-25s %7s %9s\n%-25s %7s %9s\n" THREAD_RULE, "thread", "buf", "alloc", "tid", "cached",
           "succeed");
    for (size_t i = 0; i < h->heap_thread_count; i++)
        printf("%-25" PRIu32 " %7" PRIu64 " %9" PRIu64 "\n", h->heap_threads[i].thread_id,
               h->heap_threads[i].thread_cached, h->heap_threads[i].thread_allocs);
    printf(THREAD_RULE "\n");
}

static void
print_caches(const struct heap *h, bool human)
{
    struct sum sum = {0};
    struct text text;

    printf("%-25s %6s %7s %7s %7s %7s %9s %5s\n%-25s %6s %7s %7s %7s %7s %9s %5s\n" CACHE_RULE,
           "cache", "buf", "buf", "buf", "buf", "memory", "alloc", "alloc", "name", "size",
           "in use", "in ptc", "total", "in use", "succeed", "fail");
    for (size_t i = 0; i < h->heap_cache_count; i++) {
        const struct heap_cache *cache = &h->heap_caches[i];
        uint64_t bytes = cache->cache_slab_count * cache->cache_slab_size;
        printf("%-25s %6" PRIu64 " %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " %7s %9" PRIu64
               " %5" PRIu64 "\n",
               cache->cache_name, cache->cache_bufsize, cache->cache_inuse, cache->cache_cached,
               cache->cache_total, memory_text(human, bytes, &text), cache->cache_allocs,
               cache->cache_fails);
        sum.bytes += bytes;
        sum.allocs += cache->cache_allocs;
        sum.fails += cache->cache_fails;
    }
    printf(CACHE_RULE "%-25s %6s %7s %7s %7s %7s %9" PRIu64 " %5" PRIu64 "\n" CACHE_RULE "\n",
           "Total", "", "", "", "", memory_text(human, sum.bytes, &text), sum.allocs, sum.fails);
}

/* An arena is followed by those that import from it, indented. */
static bool
print_arenas(struct shell *sh, bool human)
{
    const struct heap *h = &sh->sh_heap;
    const struct walk walk = {.walk_walker = walker_find("vmem")};
    struct addresses order = {0};
    struct text inuse, total, import;

    if (!shell_walk(sh, &walk, &order))
        return false;
    printf("%-25s %9s %9s %9s %9s %5s\n%-25s %9s %9s %9s %9s %5s\n" ARENA_RULE, "vmem", "memory",
           "memory", "memory", "alloc", "alloc", "name", "in use", "total", "import", "succeed",
           "fail");
    for (size_t i = 0; i < order.count; i++)
        for (size_t k = 0; k < h->heap_arena_count; k++) {
            const struct heap_arena *arena = &h->heap_arenas[k];
            if (arena->arena_addr != order.list[i])
                continue;
            int indent = 2 * (int)shell_arena_depth(h, arena);
            printf("%*s%-*s %9s %9s %9s %9" PRIu64 " %5" PRIu64 "\n", indent, "",
                   indent < 25 ? 25 - indent : 0, arena->arena_name,
                   memory_text(human, arena->arena_inuse, &inuse),
                   memory_text(human, arena->arena_total, &total),
                   memory_text(human, arena->arena_imported, &import), arena->arena_allocs,
                   arena->arena_fails);
        }
    printf(ARENA_RULE);
    addresses_fini(&order);
    return true;
}

static bool
dcmd_umastat(struct shell *sh, const struct call *call)
{
    bool bytes = false;
    const struct dcmd_option options[] = {{'b', DCMD_FLAG, &bytes, NULL}, {0}};

    if (!dcmd_options(sh, call, options, 0, NULL))
        return false;
    if (sh->sh_heap.heap_thread_count > 0)
        print_threads(&sh->sh_heap);
    print_caches(&sh->sh_heap, !bytes);
    return print_arenas(sh, !bytes);
}

/* --- ::umem_status --- */

static void
print_logs(struct heap *h)
{
    static const char *const names[LOG_COUNT] = {
        [LOG_TRANSACTION] = "transaction", [LOG_FAIL] = "fail", [LOG_SLAB] = "slab"};
    bool any = false;

    printf("Logs:\t\t");
    for (int i = 0; i < LOG_COUNT; i++) {
        uint64_t size = heap_log_size(h, (enum event_log)i);
        if (size == 0)
            continue;
        printf("%s%s=%s", any ? " " : "", names[i], format_size(size).s);
        any = true;
    }
    printf("%s\n", any ? "" : "(inactive)");
}

static void
print_debugging(const struct heap_state *state)
{
    printf("Debugging:\t");
    if (!state->st_audit && !state->st_guards && !state->st_contents && !state->st_firewall &&
        state->st_sample == 0)
        printf("off");
    if (state->st_audit)
        printf("audit=%u ", state->st_audit_frames);
    if (state->st_guards)
        printf("guards ");
    if (state->st_contents)
        printf("contents=%" PRIu64 " ", state->st_contents_bytes);
    if (state->st_firewall)
        printf("firewall=%s%" PRIu64 " ", state->st_firewall_below ? "below:" : "",
               state->st_firewall_bytes);
    if (state->st_sample != 0)
        printf("sample=%u", state->st_sample);
    printf("\n");
}

static bool
dcmd_umem_status(struct shell *sh, const struct call *call)
{
    struct heap *h = &sh->sh_heap;
    struct heap_state state;

    if (!dcmd_plain(sh, call))
        return false;
    if (!heap_read_state(h, &state))
        return shell_error(sh, "umem_status: the library's settings cannot be read");
    char *messages = heap_read_messages(h);
    printf("Status:\t\t%s\n", state.st_ready ? "ready and active" : "not initialized");
    printf("Concurrency:\t%zu (%s; magazines are %s)\n", h->heap_thread_count,
           h->heap_thread_count == 1 ? "thread with a cache" : "threads with a cache",
           state.st_magazines ? "on" : "off");
    print_debugging(&state);
    print_logs(h);
    printf("Message buffer:\n%s", messages != NULL ? messages : "");
    size_t length = messages != NULL ? strlen(messages) : 0;
    if (length > 0 && messages[length - 1] != '\n')
        putchar('\n');
    free(messages);
    return true;
}

const struct dcmd dcmds_caches[] = {
    {"umem_cache", "[-n part]", "list object caches, or the one at an address",
     "  FLAG and CFLAG are hexadecimal, BUFTOTL is the buffers in all slabs.\n"
     "    -n part   caches whose names have this in them\n",
     "::umem_cache -n alloc_1\n::walk umem_cache | ::umem_cache", dcmd_umem_cache,
     DCMD_HEAP | DCMD_FEEDS},
    {"umastat", "[-b]", "usage by thread, cache and arena",
     "  \"in ptc\" counts free buffers in magazines, those of threads and of the depot, and in\n"
     "  quarantine.\n"
     "    -b   memory in bytes\n",
     "::umastat ! head -20", dcmd_umastat, DCMD_HEAP | DCMD_NONE},
    {"umem_status", "", "state, settings and messages of the allocator",
     "  Concurrency is that of threads here: each has a cache of its own, where the original has\n"
     "  one a CPU.\n",
     "::umem_status", dcmd_umem_status, DCMD_HEAP | DCMD_NONE},
    {0}};
