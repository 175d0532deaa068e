/* SPDX-License-Identifier: MIT */
/*
 * init.c - first use: options, arenas; the caches of the size classes, each on
 * its own first use.
 *
 * A library that is loaded and not used costs its mapping only, and where
 * libumem and libumem_core are both loaded the one that the dynamic linker
 * chose serves everybody.  Set-up happens under init_lock in whichever thread
 * allocates first, very early in the life of a preloaded process: it allocates
 * nothing from the engine it sets up.
 *
 * One thing cannot wait for first use, and is what the constructor is for: to
 * be the first with pthread_atfork().  A program may call that before it
 * ever allocates, and would have its handlers run while ours hold every lock;
 * or its first allocation may come from within pthread_atfork(), which holds a
 * lock of libc's.
 *
 * And one thing must not come too early: the threads of UMEM_OPTIONS=reap_thread
 * and agent, which libc cannot make while the process is being loaded.  Where
 * the engine has been set up by then, the constructor starts them, else the
 * set-up does; the constructor of a library that sleeps starts nothing.
 *
 * The destructor is where umem run --leaks looks at the process: exit() has run
 * what the program registered with atexit(), and nothing has been taken down.
 */
#include <string.h>

#include "base/print.h"
#include "cache/agent.h"
#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/large_freed.h"
#include "cache/nearest.h"
#include "debug/debug.h"
#include "os/os.h"

_Atomic uint32_t umem_state;
struct umem_cache *_Atomic umem_class_made[UMEM_CLASS_COUNT];
struct umem_cache umem_class_record[UMEM_CLASS_COUNT];
static _Atomic bool loaded; /* the constructor has run */
static struct umem_lock init_lock = UMEM_LOCK_INIT(UMEM_RANK_INIT);

/* Bin of a class: see cache.h; all of them exist in every thread cache. */
_Static_assert(UMEM_CLASS_COUNT < TCACHE_STATIC_BINS, "a bin for each class, and bin 0");

/*
 * With guards a tag follows each block.  If it took room beside the class's
 * size, a multiple of the class's alignment, that would double every power of
 * two.  So it takes of it, and a block comes from the class that has room for
 * both (cache/object.c).  But 16 bytes are in the class of that name, or less
 * would have to be, and the last class has none behind it.
 */
#define CLASS_16 1
static bool
class_holds_tag(unsigned c)
{
    return c > CLASS_16 && c < UMEM_CLASS_COUNT - 1;
}

static void
set_up_class(struct umem_cache *cp, unsigned c)
{
    char name[UMEM_CACHE_NAME_SIZE];

    umem_snprintf(name, sizeof(name), "umem_alloc_%u", umem_classes[c].class_size);
    struct umem_cache_args args = {
        .args_name = name,
        .args_bufsize = umem_classes[c].class_size,
        .args_align = umem_classes[c].class_align,
        .args_bin = c + 1,
        .args_holds_tag = class_holds_tag(c),
    };
    /* Static record, no memory taken: cannot fail. */
    UMEM_VERIFY(umem_cache_set_up(cp, &args) == 0);
    cp->cache_class = (uint8_t)c;
}

static struct umem_cache *
made(unsigned c)
{
    return atomic_load_explicit(&umem_class_made[c], memory_order_relaxed);
}

/* Behind the next smaller class that there is: the list has them by size.  It is locked. */
static void
list_class(struct umem_cache *cp, unsigned c)
{
    while (c > 0 && made(c - 1) == NULL)
        c--;
    umem_list_push_front(c > 0 ? &made(c - 1)->cache_link : &umem_caches, &cp->cache_link);
}

UMEM_NOINLINE struct umem_cache *
umem_class_make(unsigned class)
{
    static unsigned count; /* of records in use, under the lock */

    (void)umem_ready();
    umem_lock_acquire(&umem_caches_lock);
    struct umem_cache *cp = made(class);
    if (cp == NULL) {
        cp = &umem_class_record[count++];
        set_up_class(cp, class);
        list_class(cp, class);
        atomic_store_explicit(&umem_class_made[class], cp, memory_order_release);
    }
    umem_lock_release(&umem_caches_lock);
    return cp;
}

/* By a record of the block that was there, or else by what is near it. */
static void
explain_fault(const struct os_fault *fault)
{
    if (!umem_firewall_explain(fault) && !umem_large_explain(fault))
        umem_nearest_explain(fault);
}

/* Where there may be something to explain: guarded blocks, or records of freed ones. */
static void
watch_faults(void)
{
    const uint32_t recorded = UMF_AUDIT | UMF_REDZONE; /* large.c keeps these */
    bool used = umem_options.opt_firewall != SIZE_MAX || umem_options.opt_sample != 0 ||
                (umem_options.opt_flags & recorded) != 0;

    if (used && !umem_options.opt_nohandler)
        os_fault_init(explain_fault);
}

static void
start_threads(void)
{
    umem_reaper_start();
    umem_agent_start();
}

UMEM_NOINLINE bool
umem_ready_slow(void)
{
    bool set_up = false;

    umem_lock_acquire(&init_lock);
    if (atomic_load_explicit(&umem_state, memory_order_relaxed) != UMEM_STATE_READY) {
        atomic_store_explicit(&umem_state, UMEM_STATE_STARTING, memory_order_relaxed);
        umem_options_read();
        vmem_init();
        if (umem_options.opt_vmem_policy != 0)
            vmem_set_default_policy(umem_options.opt_vmem_policy);
        if (umem_options.opt_heap_limit != 0)
            vmem_heap_set_limit(umem_options.opt_heap_limit);
        if (umem_options.opt_slab_log != 0)
            slab_watcher = umem_event_slab;
        vmem_set_qcache_ops(&umem_qcache_ops);
        umem_firewall_init();
        watch_faults();
        umem_verify_init();
        depot_bin_bytes_max = umem_options.opt_perthread_cache;
        depot_contention_max = umem_options.opt_max_contention;
        atomic_store(&umem_state, UMEM_STATE_READY);
        set_up = true;
    }
    umem_lock_release(&init_lock);

    /* Calls libc, which may allocate: from here on it can. */
    if (set_up) {
        tcache_init();
        if (atomic_load(&loaded))
            start_threads();
    }
    return true;
}

bool
umem_init_fork_prepare(void)
{
    umem_lock_acquire_fork(&init_lock);
    return atomic_load_explicit(&umem_state, memory_order_relaxed) == UMEM_STATE_READY;
}

void
umem_init_fork_parent(void)
{
    umem_lock_release(&init_lock);
}

void
umem_init_fork_child(void)
{
    umem_lock_reset_child(&init_lock);
}

__attribute__((constructor)) static void
load(void)
{
    umem_fork_init();
    /* The set-up looks at these two the other way round: one of us sees both. */
    atomic_store(&loaded, true);
    if (atomic_load(&umem_state) == UMEM_STATE_READY)
        start_threads();
}

/*
 * UMEM_OPTIONS=exit_stop=PID: whoever has set it waits at a socket of that
 * number.  Children inherit the variable and are none of its business.
 */
__attribute__((destructor)) static void
unload(void)
{
    char name[sizeof("umem-exit-") + 10]; /* digits of a process id */

    if (atomic_load(&umem_state) != UMEM_STATE_READY || umem_options.opt_exit_stop == 0 ||
        umem_options.opt_exit_stop != os_process_id())
        return;
    umem_snprintf(name, sizeof(name), "umem-exit-%u", umem_options.opt_exit_stop);
    os_meet(name);
}
