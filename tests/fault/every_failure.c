/* SPDX-License-Identifier: MIT */
/*
 * Walks every path that a failure may take: runs a workload again and again,
 * and each time the next thing of a kind fails that can fail.
 *
 *   every_failure alloc|map|meta once|ever FIRST STEP [LAST]
 *
 * The FIRST, then every STEP-th of them, up to LAST or until the workload passes
 * without getting there.  once: that one alone; ever: from that one on all.
 * Each run is a child in which the library was never used before, so that its
 * set-up is walked too.  No lock is among the things that fail: the engine's
 * own locks cannot.
 *
 * After a run the same workload must pass without any failure, and when all is
 * given back: no object lives, every structure verifies, and the engine has no
 * more records than after a run in which nothing failed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "every_failure.h"

#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/quarantine.h"
#include "debug/debug.h"

/* A machine that sets it aside for minutes is no hang. */
enum { CHILD_SECONDS = 600, NOT_REACHED = 10 };

/* What the run without a failure tells the others: shared memory. */
static struct result {
    long meta_blocks;
} * result;

static void
verify(void)
{
    UMEM_LIST_FOR (node, &umem_caches) {
        struct umem_cache *cp = UMEM_CONTAINER_OF(node, struct umem_cache, cache_link);
        CHECK(slab_pool_verify(&cp->cache_slabs));
        CHECK(depot_verify(&cp->cache_depot));
    }
    UMEM_LIST_FOR (node, &vmem_arenas)
        CHECK(vmem_verify(UMEM_CONTAINER_OF(node, struct vmem, vm_link)));
}

/* The last firewalls of their kind, which stay: how many, and their bytes.  No body is in use. */
static long
firewalls(size_t *bytes)
{
    long count = 0;

    *bytes = 0;
    UMEM_LIST_FOR (node, &umem_firewalls) {
        struct umem_firewall *span = UMEM_CONTAINER_OF(node, struct umem_firewall, fw_link);
        CHECK(span->fw_busy == 0);
        *bytes += span->fw_size;
        count++;
    }
    return count;
}

/* Nothing is in use, magazines are empty, and the heap keeps a span at most. */
static void
check_all_is_free(void)
{
    size_t guarded;

    for (int round = 0; round < 3; round++)
        umem_reap();
    (void)umem_firewall_drain(); /* else these wait until an allocation fails */
    verify();
    CHECK(umem_quarantine_verify() && umem_firewall_verify());
    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++) {
        const struct umem_cache *cp = umem_class_cache(c);
        if (cp->cache_slabs.pool_allocated != 0)
            say(STDERR_FILENO, "%s: %zu objects are in use\n", cp->cache_name,
                cp->cache_slabs.pool_allocated);
        CHECK(cp->cache_slabs.pool_allocated == 0);
        CHECK(cp->cache_slabs.pool_slabs == 0);
    }
    CHECK(umem_caches.prev == &umem_class_cache(UMEM_CLASS_COUNT - 1)->cache_link);
    CHECK(umem_list_empty(&umem_larges));
    (void)firewalls(&guarded);
    CHECK(vmem_heap.vm_stats.vms_inuse == guarded);
    CHECK(vmem_arenas.next == &vmem_heap.vm_link && vmem_arenas.prev == &vmem_heap.vm_link);
}

static _Noreturn void
child(int kind, bool ever, uint64_t at)
{
    struct rlimit no_core = {0, 0};

    (void)setrlimit(RLIMIT_CORE, &no_core);
    alarm(CHILD_SECONDS);
    if (at != 0)
        inject_arm(kind, at, ever);
    workload(ever);
    bool reached = inject_disarm();
    verify();
    workload(ever);
    check_all_is_free();
    size_t bytes;
    long blocks = inject_meta_blocks() - firewalls(&bytes);
    if (at == 0)
        result->meta_blocks = blocks;
    long more = blocks - result->meta_blocks;
    if (more > 0)
        say(STDERR_FILENO, "%ld records more than without a failure\n", more);
    /* Under debugging fewer can be: a log that could not be had is not tried again, for one. */
    CHECK(at == 0 || more == 0 || (more < 0 && umem_options.opt_flags != 0));
    _exit(reached ? 0 : NOT_REACHED);
}

/* The exit status of a run; 0 is no failure at all. */
static int
run(int kind, bool ever, uint64_t at)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        child(kind, ever, at);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    if (WIFSIGNALED(status))
        say(STDERR_FILENO, "%s %llu: signal %d\n", inject_names[kind], (unsigned long long)at,
            WTERMSIG(status));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Returns how many were walked, -1: a run went wrong. */
static long
walk(int kind, bool ever, uint64_t first, uint64_t step, uint64_t last)
{
    long runs = 0;

    for (uint64_t at = first; at <= last; at += step) {
        int status = run(kind, ever, at);
        if (status == NOT_REACHED)
            break;
        if (status != 0) {
            say(STDERR_FILENO, "%s %s %llu failed\n", inject_names[kind], ever ? "ever" : "once",
                (unsigned long long)at);
            return -1;
        }
        runs++;
    }
    return runs;
}

int
main(int argc, char **argv)
{
    int kind = 0;

    if (argc < 5)
        return 2;
    while (kind < INJECT_KINDS && strcmp(argv[1], inject_names[kind]) != 0)
        kind++;
    uint64_t step = strtoull(argv[4], NULL, 10);
    if (kind == INJECT_KINDS || step == 0)
        return 2;
    result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED || run(kind, false, 0) != NOT_REACHED)
        return 1;
    long runs = walk(kind, strcmp(argv[2], "ever") == 0, strtoull(argv[3], NULL, 10), step,
                     argc > 5 ? strtoull(argv[5], NULL, 10) : UINT64_MAX);
    if (runs < 0)
        return 1;
    say(STDOUT_FILENO, "%ld runs\n", runs);
    return 0;
}
