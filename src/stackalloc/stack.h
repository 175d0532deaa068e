/* SPDX-License-Identifier: MIT */
/*
 * stack.h - the stack library seen from inside: what each file owns.
 *
 *   api.c    stack_alloc, stack_free, fetch_stack_sizes
 *   stash.c  what each thread has at hand in front of the caches
 *   class.c  a size class: its umem cache, made on first use
 *   config.c stack_config: what a class is made with
 *   build.c  constructor and destructor of a stack
 *   budget.c  stack_budget: how much may be built
 *   trim.c   stack_trim, and bounds of what is cached
 *   scrub.c  what a user left in a stack is cleared
 *   reserve.c  stack_reserve, stack_seal: stacks made beforehand
 *   table.c  address -> slot: which stacks exist, and whether they are in use
 *   info.c   stack_info, stack_name, stack_foreach: what the table knows, told
 *   fault.c  stack_fault_handler_install: a handler of SIGSEGV and its stacks;
 *            fault_report.c what it says, symbol.c the names of functions
 *   deferred.c  stack_free_deferred: stacks that their users stood on
 *   top.c    stack_top: coloured stack pointers
 *   fork.c   stack_reprefault
 *   tools.h  what valgrind is told
 *   layout.c what an analyser has to know to read the table in a core file
 *   stats.c  stack_stats
 *   watermark.c  stack_watermark, stack_highwater: how deep a stack went
 *   thread.c stack_pthread_create: threads, and when they are over
 *   join.c   pthread_join and its kin in front of libc's
 *   span.c   the arenas that stacks come from, and the spans they are cut from
 *   mappings.c  which guards are mappings, and where those run out
 *   page.c   the system calls that change pages
 *   look.c   those that change none: what the kernel knows of pages
 *   membarrier.c  a memory barrier on all threads
 *
 *    Beside the last three these make system calls: fault.c for signals, symbol.c
 *    to read symbol tables, fault_report.c and preload.c to write what they say,
 *    thread.c to ask whether a thread is gone, stash.c to wait for one, stats.c to
 *    count page faults.
 *
 * 1. The object.  One object of a cache is
 *
 *        | low guard | body, what the caller gets | high guard |
 *
 *    Everything is mapped inaccessible; the constructor opens the body alone.
 *    A guard is what was never opened: it cannot be forgotten, holds no page
 *    and is not charged as locked.  That splits mappings, of which a process
 *    has 65,530; beyond a share of them guards are marks in the page tables
 *    (guard regions) inside one open mapping, made for a whole span of stacks
 *    at once: see span.c and build.c.
 *
 * 2. What is cached.  A freed stack goes back to its cache as it is.  umem
 *    calls the constructor for a raw object and the destructor when it takes
 *    memory back (umem_reap): only these two make system calls.  UMC_NOTOUCH
 *    keeps umem from writing into an object, which could be mostly guard.
 *
 * 3. Who owns a stack is told by its slot's word alone: STACK_NONE (there is
 *    none), STACK_BARE (one was, its object is still mapped), STACK_CACHED (umem
 *    has it, or a thread at hand), STACK_USED (the caller has it).  The
 *    constructor makes NONE or BARE into CACHED, the destructor CACHED into BARE,
 *    unmapping BARE into NONE; only the thread that was given the object makes
 *    CACHED into USED, so that is a plain store.  stack_free() makes USED into
 *    CACHED by compare-and-swap, so that one of many racing frees wins; but the
 *    thread whose number is in the word, which is the one that allocated the
 *    stack, by a plain store, until another thread wants to free it: stash.h.
 *
 * 4. Locks.  Slots, leaves of the table, caches and the arena are published by
 *    compare-and-swap, the loser takes its own back.  So fork needs no handler
 *    for them: the child finds every stack in the state it had.  There are mutexes
 *    of the registry of threads (thread.c), and one of the records of
 *    stash.c.  Both kinds have their handlers of fork; nobody takes one with another held.
 *
 * umem is used through <umem.h> and <sys/vmem.h> only.
 */
#ifndef STACKALLOC_STACK_H
#define STACKALLOC_STACK_H

#include <stackalloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <umem.h>

#define STACK_LIKELY(x) __builtin_expect(!!(x), 1)
#define STACK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define STACK_EXPORT __attribute__((visibility("default")))
#define STACK_COLD __attribute__((cold, noinline))
/* Begins a cache line: of 20 cycles that a pair of calls takes, two went into fetching them. */
#define STACK_HOT __attribute__((aligned(64)))
#define STACK_NOINLINE __attribute__((noinline))
/*
 * All thread-local storage of the library: at fixed offsets from the thread pointer, to be read
 * in a handler of a signal without a call.  And at any time of a thread's life: what is not
 * initial-exec is found by way of a table (the DTV) which glibc 2.36 frees when a thread on a
 * stack of its program's is detached while its cleanup handlers still run.
 */
#define STACK_TLS __thread __attribute__((tls_model("initial-exec")))

#define STACK_SIZE_SHIFT_MIN 15 /* 32 KiB */
#define STACK_SIZE_SHIFT_MAX 21 /* 2 MiB */
#define STACK_CLASSES (STACK_SIZE_SHIFT_MAX - STACK_SIZE_SHIFT_MIN + 1)
/* No page of any Linux system is smaller. */
#define STACK_PAGE_MIN ((size_t)4096)

/*
 * The low guard, on the side that stacks grow towards, is as wide as the
 * frames that code without stack probes plausibly has: a frame wider than the
 * guard can step over it unseen (12,000 bytes do over one page).  Code built
 * with -fstack-clash-protection probes every page on x86, but every 64 KiB on
 * aarch64, whose ABI takes a guard of that width for granted.  A guard costs
 * address space only, but a wide one spreads the bodies over more page tables:
 * a million 32 KiB stacks need 104 MB of them with 16 + 4 KiB of guards.
 */
#if defined(__aarch64__)
#define STACK_GUARD_LOW ((size_t)65536)
#else
#define STACK_GUARD_LOW ((size_t)16384)
#endif
/* Nothing grows upwards: what runs off the top does so in small steps. */
#define STACK_GUARD_HIGH STACK_PAGE_MIN

/* --- class.c --- */

struct stack_class {
    _Atomic uint32_t class_choice;       /* CHOICE_: 0 until stack_config() or the first stack */
    _Atomic uint32_t class_huge;         /* a body is one huge page, where the kernel has one */
    _Atomic(umem_cache_t *) class_cache; /* NULL until the first stack of this size */
    _Atomic size_t class_guard_low;      /* written before class_arena is published */
    _Atomic size_t class_guard_high;
    _Atomic size_t class_gap;      /* above that, inaccessible too; up to the next object */
    _Atomic(vmem_t *) class_spans; /* has nothing to give: see span.c */
    _Atomic(vmem_t *) class_arena;
    /* What is done beyond the task: by stack_free() an enum stack_scrub, CARE_TRIM, CARE_TOOLS. */
    _Atomic uint32_t class_care;
    _Atomic uint32_t class_idle_ms; /* trim.c: 0: for ever */
    _Atomic size_t class_keep;      /* stacks; 0: all */
    _Atomic uint64_t class_due_ms;
};
#define CARE_SCRUB_MASK 3u
#define CARE_TRIM 4u
#define CARE_TOOLS 8u /* tools_clear() */
#define CARE_FILL 16u /* by stack_alloc(): stack_fill() */
extern struct stack_class stack_classes[STACK_CLASSES];

/*
 * What stack_config() chose, one word, so that a class that is being made and
 * a late change of its choice cannot mix: CHOICE_FIXED | CHOICE_LAZY | backend |
 * pages of the low guard | of the high guard, 0 pages for the default.
 */
#define CHOICE_FIXED 1u
#define CHOICE_LAZY 2u
#define CHOICE_BACKEND_SHIFT 2
#define CHOICE_BACKEND_MASK 3u
#define CHOICE_PAGES_BITS 14
#define CHOICE_PAGES_MAX ((1u << CHOICE_PAGES_BITS) - 1)
#define CHOICE_LOW_SHIFT 4
#define CHOICE_HIGH_SHIFT (CHOICE_LOW_SHIFT + CHOICE_PAGES_BITS)

/* Whether size is one that this system supports. */
bool stack_size_supported(size_t size);
/* Index into stack_classes of a power of two in the range. */
static inline unsigned
stack_class_index(size_t size)
{
    return (unsigned)__builtin_ctzl(size) - STACK_SIZE_SHIFT_MIN;
}
static inline size_t
stack_class_size(unsigned index)
{
    return (size_t)1 << (index + STACK_SIZE_SHIFT_MIN);
}
/* The cache of a class, made if need be.  NULL with errno. */
umem_cache_t *stack_class_open(unsigned index);

/* What a stack of a class is made of, and with; of a class that has an arena. */
struct stack_form {
    /* Bytes: guard, body, guard with the gap above it, all three. */
    size_t form_low, form_size, form_high, form_whole;
    bool form_lazy, form_huge;
    enum stack_backend form_backend;
};
struct stack_form stack_class_form(unsigned index);

/* --- reserve.c --- */

bool stack_is_sealed(void);

/* --- budget.c --- */

/* Before a stack of so many bytes is built: false where the budget does not allow it. */
bool stack_budget_take(size_t bytes);
/* It is no more, or could not be built. */
void stack_budget_give(size_t bytes);
/* No stack was to be had, for want of budget: whether freed ones were taken apart.  Keeps errno. */
bool stack_budget_make_room(size_t bytes);

/* --- trim.c --- */

/* How many bytes of freed stacks of a class are kept, how long; 0: no bound. */
void stack_trim_choose(unsigned index, size_t bytes, unsigned idle_ms);
/* A stack was given back, of a class with CARE_TRIM. */
void stack_trim_after_free(unsigned index);

/* --- api.c --- */

/* stack_alloc() and stack_free() of what is not the program's to free: TABLE_HELD. */
void *stack_hold(size_t size);
void stack_release(void *body, size_t size);

/* --- scrub.c --- */

/* Clears a stack that is its freer's alone; how is not STACK_SCRUB_NONE. */
void stack_scrub(char *body, unsigned index, enum stack_scrub how);

/* --- watermark.c --- */

/* Fills a stack, whose word is to have TABLE_FILLED: it is its allocator's alone. */
void stack_fill(char *body, size_t size);

/* --- build.c --- */

/* A umem_constructor_t and a umem_destructor_t; private is the struct stack_class. */
int stack_construct(void *object, void *private, int flags);
void stack_destruct(void *object, void *private);

/* --- mappings.c --- */

/* Whether stacks of this form are to have guard regions, as things are now. */
bool stack_wants_regions(const struct stack_form *form);
/* Stacks of the automatic backend that can still be split off. */
size_t stack_mappings_room(void);
/* A stack was split off from its span by mappings, or is no more. */
void stack_note_split(bool made);
/* The system has no mapping left: makes room among stacks.  False where that was in vain. */
bool stack_mappings_relieve(void);

/* --- span.c --- */

/*
 * The arena that the objects of a class come from, made if need be, once the
 * class has its widths.  NULL with errno.
 */
vmem_t *stack_arena(unsigned index);
/* Whether an address lies in a span of any class. */
bool stack_span_holds(const void *address);

#endif
