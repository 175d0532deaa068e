/* SPDX-License-Identifier: MIT */
/*
 * unwind.c - the rule table and the walk that uses it.
 *
 * 1. Why.  An audited malloc captures a stack each time, so a capture must cost
 *    tens of nanoseconds, in binaries built without frame pointers, where every
 *    unwinder that is at hand interprets DWARF, allocates or takes a lock.  But
 *    a program returns to few addresses, and what the tables say of one never
 *    changes while its object is loaded: so it is read once.
 *
 * 2. The rule.  32 bits say how the frame of one address is undone
 *    (unwind_impl.h): the CFA from rsp or rbp and an offset, or from a word
 *    saved on the stack (realigned frames, assembler); where rbp is saved.  The
 *    return address is the word below the CFA, rsp becomes the CFA.  Special
 *    rules are the end, a signal frame, code without tables, and "too rich":
 *    then unwind_full.c walks with all registers, slowly and completely.
 *
 * 3. The table.  65,536 entries of 64 bits, one address each.  An address has
 *    48 bits; multiplied by an odd number modulo 2^48, which loses nothing, the
 *    top 16 bits are its index and the other 32 its tag.  Tag and rule share a
 *    word: an entry is read and written whole, and a clash of two addresses
 *    costs a recomputation, never a wrong rule.  That needs neither a lock nor
 *    an order of memory accesses; and the address of an entry can be computed
 *    back, so that the rules of an unloaded object can be forgotten.
 *
 *    The key is the return address less 1, since the address behind a call
 *    that does not return may belong to the next function; where a signal
 *    struck it is the address itself.  The two never collide: less 1, an
 *    address is inside of the call.
 *
 * 4. The walk reads the stack only within a window known to be readable
 *    (unwind_stack.c), and every step yields a frame or ends, so it terminates
 *    on any stack contents.
 *
 * 5. Code without tables (JIT): the frame pointer chain, checked: rbp points
 *    upward, and what it leads to is code with tables or follows a call
 *    instruction; else the walk ends there.
 *
 * 6. Unloaded objects: unwind_object.c.
 *
 * On other architectures than x86-64 there is only the frame pointer chain.
 *
 * State: the table, mapped by the first walk (nothing is paid before, also not
 * under mlockall), never freed.  No lock; async-signal-safe; works while ld.so
 * starts the program, since it calls nothing that ld.so has to have set up.
 */
#include "os/unwind.h"

#include <errno.h>

#include "os/os.h"
#include "os/unwind_impl.h"

/* Where a walk is: the frame to be undone next. */
struct cursor {
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t bp;
    bool exact; /* a signal struck at pc; else pc is a return address */
};

#if defined(__x86_64__)

#include <ucontext.h>

#define TABLE_BITS 16
#define TABLE_SIZE ((size_t)1 << TABLE_BITS)
#define ADDRESS_BITS 48
#define TAG_BITS (ADDRESS_BITS - TABLE_BITS)
_Static_assert(TAG_BITS == 32, "tag and rule share 64 bits");
/* Odd, close to 2^48 / golden ratio: neighbouring addresses get distant entries. */
#define SPREAD UINT64_C(0x9e3779b97f4b)

static _Atomic(_Atomic uint64_t *) table;

/* The address times SPREAD modulo 2^48, in the upper 48 bits: index, then tag. */
static inline uint64_t
spread(uintptr_t addr)
{
    return ((uint64_t)addr * SPREAD) << (64 - ADDRESS_BITS);
}

static inline size_t
spread_index(uint64_t product)
{
    return product >> (64 - TABLE_BITS);
}

static inline uint32_t
spread_tag(uint64_t product)
{
    return (uint32_t)(product >> (64 - ADDRESS_BITS));
}

/* The address of an entry: both parts together times the inverse of SPREAD. */
static uintptr_t
entry_address(size_t index, uint64_t entry)
{
    uint64_t inverse = SPREAD; /* Newton: right to 3 bits, each step doubles them */

    for (int i = 0; i < 4; i++)
        inverse *= 2 - SPREAD * inverse;
    return (((uint64_t)index << TAG_BITS | entry >> 32) * inverse) &
           ((UINT64_C(1) << ADDRESS_BITS) - 1);
}

static UMEM_COLD _Atomic uint64_t *
table_map(void)
{
    int saved = errno;
    size_t size = umem_align_up(TABLE_SIZE * sizeof(uint64_t), os_page_size());
    _Atomic uint64_t *mine = os_map(size, os_page_size());
    _Atomic uint64_t *theirs = NULL;

    if (mine != NULL) {
        if (atomic_compare_exchange_strong(&table, &theirs, mine)) {
            os_name(mine, size, "umem_unwind");
            theirs = mine;
        } else {
            os_unmap((void *)mine, size);
        }
    }
    errno = saved;
    return theirs; /* NULL: no memory; then every rule is computed anew */
}

static inline _Atomic uint64_t *
table_get(void)
{
    _Atomic uint64_t *t = atomic_load_explicit(&table, memory_order_acquire);

    return UMEM_LIKELY(t != NULL) ? t : table_map();
}

void
unwind_table_forget(uintptr_t start, uintptr_t end)
{
    _Atomic uint64_t *t = atomic_load_explicit(&table, memory_order_acquire);

    if (t == NULL)
        return;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        uint64_t entry = atomic_load_explicit(&t[i], memory_order_relaxed);
        if (entry != 0 && entry_address(i, entry) - start < end - start)
            atomic_store_explicit(&t[i], 0, memory_order_relaxed);
    }
}

static UMEM_NOINLINE uint32_t
rule_miss(_Atomic uint64_t *t, uintptr_t addr, bool exact, bool *forgotten)
{
    uint64_t product = spread(addr);
    bool keep;
    bool any;
    uint32_t rule = unwind_rule_compute(addr, exact, &keep, &any);

    *forgotten |= any;
    if (keep && t != NULL && addr >> ADDRESS_BITS == 0)
        atomic_store_explicit(&t[spread_index(product)], (uint64_t)spread_tag(product) << 32 | rule,
                              memory_order_relaxed);
    return rule;
}

static inline uint32_t
rule_get(_Atomic uint64_t *t, uintptr_t addr, bool exact, bool *forgotten)
{
    uint64_t product = spread(addr);

    if (UMEM_LIKELY(t != NULL)) {
        uint64_t entry = atomic_load_explicit(&t[spread_index(product)], memory_order_relaxed);
        if (UMEM_LIKELY(entry >> 32 == spread_tag(product) && (uint32_t)entry != UNWIND_NONE))
            return (uint32_t)entry;
    }
    return rule_miss(t, addr, exact, forgotten);
}

/* Where in the stack the kernel's ucontext at sp keeps a register. */
#define UCONTEXT_AT(sp, greg)                                                                      \
    ((sp) + offsetof(ucontext_t, uc_mcontext.gregs) + (size_t)(greg) * sizeof(greg_t))

static bool
step_signal(struct cursor *c, struct unwind_window *win)
{
    uintptr_t uc = c->sp;

    if (!unwind_read(win, UCONTEXT_AT(uc, REG_RIP), &c->pc) ||
        !unwind_read(win, UCONTEXT_AT(uc, REG_RSP), &c->sp) ||
        !unwind_read(win, UCONTEXT_AT(uc, REG_RBP), &c->bp))
        return false;
    c->exact = true;
    return unwind_window_switch(win, c->sp);
}

/* A frame whose code has no tables, by its frame pointer. */
static bool
step_frame_pointer(_Atomic uint64_t *t, struct cursor *c, struct unwind_window *win)
{
    uintptr_t bp = c->bp;
    bool forgotten = false;

    if (bp < c->sp || !unwind_read(win, bp, &c->bp) ||
        !unwind_read(win, bp + sizeof(uintptr_t), &c->pc))
        return false;
    c->sp = bp + 2 * sizeof(uintptr_t);
    c->exact = false;
    return !unwind_rule_is_bogus(rule_get(t, c->pc - 1, false, &forgotten));
}

/* The rules with a CFA, where the short cuts of the hot loop do not do. */
static bool
step_cfa(uint32_t rule, struct cursor *c, struct unwind_window *win)
{
    enum unwind_kind kind = unwind_rule_kind(rule);
    uintptr_t base = kind == UNWIND_FROM_RSP || kind == UNWIND_RSP_DEREF ? c->sp : c->bp;
    uintptr_t cfa = base + unwind_rule_offset(rule);
    uintptr_t slot = unwind_rule_rbp(rule);

    if (kind == UNWIND_RSP_DEREF || kind == UNWIND_RBP_DEREF) {
        if (!unwind_read(win, cfa, &cfa))
            return false;
        cfa += unwind_rule_addend(rule);
    }
    if (cfa <= c->sp)
        return false;
    if (slot != 0) {
        uintptr_t at = slot == UNWIND_RULE_RBP_AT_RBP ? c->bp : cfa - slot * UNWIND_RULE_WORD;
        if (!unwind_read(win, at, &c->bp))
            return false;
    }
    if (!unwind_read(win, cfa - UNWIND_RULE_WORD, &c->pc))
        return false;
    c->sp = cfa;
    c->exact = false;
    return true;
}

enum step { STEP_DONE, STEP_END, STEP_FULL };

static UMEM_NOINLINE enum step
step_slow(_Atomic uint64_t *t, uint32_t rule, struct cursor *c, struct unwind_window *win)
{
    bool done = false;

    switch (unwind_rule_kind(rule)) {
    case UNWIND_SIGNAL:
        done = step_signal(c, win);
        break;
    case UNWIND_SPECIAL:
        if (unwind_rule_special(rule) == UNWIND_FULL)
            return STEP_FULL;
        if (unwind_rule_special(rule) == UNWIND_NOCFI)
            done = step_frame_pointer(t, c, win);
        break;
    default:
        done = step_cfa(rule, c, win);
    }
    return done ? STEP_DONE : STEP_END;
}

/*
 * One step by the common rules alone.  False: nothing is changed, step_slow()
 * decides.
 */
static inline __attribute__((always_inline)) UNWIND_RAW_STACK bool
step_hot(uint32_t rule, struct cursor *c, const struct unwind_window *win)
{
    uint32_t kind = rule & 7;
    uintptr_t base = kind == UNWIND_FROM_RSP ? c->sp : c->bp;
    uintptr_t cfa = base + unwind_rule_offset(rule);
    uintptr_t slot = unwind_rule_rbp(rule);
    uintptr_t at = cfa - slot * UNWIND_RULE_WORD;

    /*
     * A slot lies at most 254 words below the CFA: with the CFA's own check it
     * is inside where it is above the window's start.
     */
    if (UMEM_UNLIKELY(kind > UNWIND_FROM_RBP || cfa <= c->sp ||
                      !unwind_in_window(win, cfa - UNWIND_RULE_WORD)))
        return false;
    if (slot != 0) {
        if (UMEM_UNLIKELY(slot == UNWIND_RULE_RBP_AT_RBP || at < win->win_lo))
            return false;
        c->bp = unwind_load(at);
    }
    c->pc = unwind_load(cfa - UNWIND_RULE_WORD);
    c->sp = cfa;
    c->exact = false;
    return true;
}

/* Answers of walk() that are no count: start again, rules were stale; or walk in full. */
#define WALK_AGAIN UINT32_MAX
#define WALK_FULL (UINT32_MAX - 1)

static inline __attribute__((always_inline)) uint32_t
walk(uintptr_t *frames, uint32_t max, uint32_t skip, struct cursor c)
{
    _Atomic uint64_t *t = table_get();
    struct unwind_window win;
    bool forgotten = false;
    uint32_t n = 0;

    unwind_window_start(&win, c.sp);
    while (n < max) {
        uint32_t rule = rule_get(t, c.pc - !c.exact, c.exact, &forgotten);
        if (UMEM_UNLIKELY(!step_hot(rule, &c, &win))) {
            enum step step = step_slow(t, rule, &c, &win);
            if (step == STEP_FULL)
                return WALK_FULL;
            if (step == STEP_END)
                break;
        }
        if (UMEM_UNLIKELY(forgotten))
            return WALK_AGAIN;
        if (UMEM_UNLIKELY(c.pc == 0))
            break;
        if (UMEM_LIKELY(skip == 0))
            frames[n++] = c.pc;
        else
            skip--;
    }
    return n;
}

UMEM_NOINLINE UNWIND_RAW_STACK uint32_t
os_unwind(uintptr_t *frames, uint32_t max, uint32_t skip)
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    const struct cursor start = {.pc = unwind_load(frame + sizeof(uintptr_t)),
                                 .sp = frame + 2 * sizeof(uintptr_t),
                                 .bp = unwind_load(frame),
                                 .exact = false};

    uint32_t n = walk(frames, max, skip, start);
    if (UMEM_UNLIKELY(n == WALK_AGAIN))
        n = walk(frames, max, skip, start);
    if (UMEM_UNLIKELY(n == WALK_AGAIN || n == WALK_FULL))
        n = unwind_full(frames, max, skip, start.sp);
    return n;
}

#else

/* The chain of frame pointers: {caller's frame pointer, return address} at each. */
UMEM_NOINLINE UNWIND_RAW_STACK uint32_t
os_unwind(uintptr_t *frames, uint32_t max, uint32_t skip)
{
    struct cursor c = {.sp = (uintptr_t)__builtin_frame_address(0)};
    struct unwind_window win;
    uint32_t n = 0;

    unwind_window_start(&win, c.sp);
    if (!unwind_read(&win, c.sp, &c.bp))
        return 0;
    while (n < max) {
        uintptr_t bp = c.bp;
        if (bp <= c.sp || !unwind_read(&win, bp, &c.bp) ||
            !unwind_read(&win, bp + sizeof(uintptr_t), &c.pc) || c.pc == 0)
            break;
        c.sp = bp;
        if (skip == 0)
            frames[n++] = c.pc;
        else
            skip--;
    }
    return n;
}

#endif
