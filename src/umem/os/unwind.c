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
 * 3. The table.  65,536 entries, one address each.  An address has 48 bits;
 *    multiplied by an odd number modulo 2^48, which loses nothing, the top 16
 *    bits are its index and the other 32 its tag.  Tag and rule share a 64-bit
 *    word: it is read and written whole, and a clash of two addresses costs a
 *    recomputation, never a wrong rule.  That needs neither a lock nor an order
 *    of memory accesses; and the address of an entry can be computed back, so
 *    that the rules of an unloaded object can be forgotten.
 *
 *    Beside it an entry has a guess: the entry that a walk went to from there.
 *    Returning from f mostly leads to where f was called from last time, and a
 *    right guess takes the table off the chain of dependent loads.
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

#if defined(__x86_64__)

#include <ucontext.h>

#define TABLE_BITS 16
#define TABLE_SIZE ((size_t)1 << TABLE_BITS)
#define ADDRESS_BITS 48
#define TAG_BITS (ADDRESS_BITS - TABLE_BITS)
_Static_assert(TAG_BITS == 32, "tag and rule share 64 bits");
/* Odd, close to 2^48 / golden ratio: neighbouring addresses get distant entries. */
#define SPREAD UINT64_C(0x9e3779b97f4b)

struct entry {
    _Atomic uint64_t entry_rule; /* tag << 32 | rule; 0 empty */
    _Atomic uint32_t entry_next; /* index of the entry that a walk went to from here */
    uint32_t entry_pad;
};

/* After the first, every so many wrong guesses of the next entry correct it. */
#define GUESS_KEEP 16

static _Atomic(struct entry *) table;
_Atomic uint32_t unwind_forgets;

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

/* What spread() gave for the address that an entry is for. */
static inline uint64_t
entry_product(size_t index, uint64_t word)
{
    return (uint64_t)index << (64 - TABLE_BITS) | word >> 32 << (64 - ADDRESS_BITS);
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

static UMEM_COLD struct entry *
table_map(void)
{
    int saved = errno;
    size_t size = umem_align_up(TABLE_SIZE * sizeof(struct entry), os_page_size());
    struct entry *mine = os_map(size, os_page_size());
    struct entry *theirs = NULL;

    if (mine != NULL) {
        if (atomic_compare_exchange_strong(&table, &theirs, mine)) {
            os_name(mine, size, "umem_unwind");
            theirs = mine;
        } else {
            os_unmap(mine, size);
        }
    }
    errno = saved;
    return theirs; /* NULL: no memory */
}

static inline struct entry *
table_get(void)
{
    struct entry *t = atomic_load_explicit(&table, memory_order_acquire);

    return UMEM_LIKELY(t != NULL) ? t : table_map();
}

static inline uint64_t
entry_load(const struct entry *entry)
{
    return atomic_load_explicit(&entry->entry_rule, memory_order_relaxed);
}

static inline uint32_t
entry_guess(const struct entry *entry)
{
    return atomic_load_explicit(&entry->entry_next, memory_order_relaxed);
}

void
unwind_table_forget(uintptr_t start, uintptr_t end)
{
    struct entry *t = atomic_load_explicit(&table, memory_order_acquire);

    atomic_fetch_add_explicit(&unwind_forgets, 1, memory_order_relaxed);
    if (t == NULL)
        return;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        uint64_t entry = entry_load(&t[i]);
        if (entry != 0 && entry_address(i, entry) - start < end - start)
            atomic_store_explicit(&t[i].entry_rule, 0, memory_order_relaxed);
    }
}

/* Computes the rule of an address that the table does not have, and keeps it there. */
static UMEM_NOINLINE uint32_t
rule_miss(struct entry *t, uintptr_t addr, bool exact, bool *forgotten)
{
    uint64_t product = spread(addr);
    bool keep;
    uint32_t rule = unwind_rule_compute(addr, exact, &keep, forgotten);

    if (keep && addr >> ADDRESS_BITS == 0)
        atomic_store_explicit(&t[spread_index(product)].entry_rule,
                              (uint64_t)spread_tag(product) << 32 | rule, memory_order_relaxed);
    return rule;
}

/* The walk went from one entry to another that was not the one guessed. */
static void
guess_correct(struct entry *from, size_t index)
{
    static UMEM_TLS uint32_t wrong;

    if (entry_guess(from) == 0 || wrong++ % GUESS_KEEP == 0)
        atomic_store_explicit(&from->entry_next, (uint32_t)index, memory_order_relaxed);
}

/* Where in the stack the kernel's ucontext at sp keeps a register. */
#define UCONTEXT_AT(sp, greg)                                                                      \
    ((sp) + offsetof(ucontext_t, uc_mcontext.gregs) + (size_t)(greg) * sizeof(greg_t))

static bool
step_signal(struct unwind_cursor *c, struct unwind_window *win)
{
    uintptr_t uc = c->sp;

    if (!unwind_read(win, UCONTEXT_AT(uc, REG_RIP), &c->pc) ||
        !unwind_read(win, UCONTEXT_AT(uc, REG_RSP), &c->sp) ||
        !unwind_read(win, UCONTEXT_AT(uc, REG_RBP), &c->bp))
        return false;
    c->exact = true;
    return unwind_window_switch(win, c->sp);
}

/*
 * A frame whose code has no tables, by its frame pointer; what it leads to must
 * be code.
 */
static bool
step_frame_pointer(struct entry *t, struct unwind_cursor *c, struct unwind_window *win)
{
    uintptr_t bp = c->bp;
    bool forgotten;

    if (bp < c->sp || !unwind_read(win, bp, &c->bp) ||
        !unwind_read(win, bp + sizeof(uintptr_t), &c->pc))
        return false;
    c->sp = bp + 2 * sizeof(uintptr_t);
    c->exact = false;
    uint64_t product = spread(c->pc - 1);
    uint64_t entry = entry_load(&t[spread_index(product)]);
    if (entry >> 32 == spread_tag(product) && entry != 0)
        return true;
    return !unwind_rule_is_bogus(rule_miss(t, c->pc - 1, false, &forgotten));
}

/* The rules with a CFA, where the short cuts of the hot loop do not do. */
static bool
step_cfa(uint32_t rule, struct unwind_cursor *c, struct unwind_window *win)
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
    /* Downward only where code switched stacks and kept the old one in rbp. */
    if (cfa <= c->sp && !unwind_window_switch(win, cfa - UNWIND_RULE_WORD))
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

/* Any step: also the common ones, where the hot loop does not dare. */
static UMEM_NOINLINE enum unwind_step
step_slow(struct entry *t, uint32_t rule, struct unwind_cursor *c, struct unwind_window *win)
{
    bool forgotten = false;
    bool done = false;

    if (rule == UNWIND_NONE)
        rule = rule_miss(t, c->pc - !c->exact, c->exact, &forgotten);
    if (forgotten)
        return UNWIND_STEP_AGAIN;
    switch (unwind_rule_kind(rule)) {
    case UNWIND_SIGNAL:
        done = step_signal(c, win);
        break;
    case UNWIND_SPECIAL:
        if (unwind_rule_special(rule) == UNWIND_FULL)
            return UNWIND_STEP_FULL;
        if (unwind_rule_special(rule) == UNWIND_NOCFI)
            done = step_frame_pointer(t, c, win);
        break;
    default:
        done = step_cfa(rule, c, win);
    }
    return done ? UNWIND_STEP_DONE : UNWIND_STEP_END;
}

/*
 * The conditions are those of the hot loop in walk(): what they let through is
 * said by pc, sp, rbp and two words of the stack.
 */
enum unwind_step
unwind_step(struct unwind_cursor *c, struct unwind_window *win, struct unwind_used *used)
{
    struct entry *t = table_get();
    if (UMEM_UNLIKELY(t == NULL))
        return UNWIND_STEP_AGAIN;
    uint64_t product = spread(c->pc - !c->exact);
    uint64_t word = entry_load(&t[spread_index(product)]);
    uint32_t rule = word >> 32 == spread_tag(product) ? (uint32_t)word : UNWIND_NONE;
    bool forgotten = false;

    if (UMEM_UNLIKELY(rule == UNWIND_NONE))
        rule = rule_miss(t, c->pc - !c->exact, c->exact, &forgotten);
    if (UMEM_UNLIKELY(forgotten))
        return UNWIND_STEP_AGAIN;
    bool by_rsp = (rule & UNWIND_RULE_RSP_BIT) != 0;
    uintptr_t cfa = (by_rsp ? c->sp : c->bp) + unwind_rule_offset(rule);
    uintptr_t slot = unwind_rule_rbp(rule) * UNWIND_RULE_WORD;

    *used = (struct unwind_used){.used_hard = rule != UNWIND_RULE_END};
    if (UMEM_LIKELY((rule & UNWIND_RULE_HOT_MASK) == UNWIND_RULE_HOT && cfa > c->sp &&
                    cfa <= win->win_lo + win->win_size && (cfa & (UNWIND_RULE_WORD - 1)) == 0 &&
                    cfa - slot >= c->sp)) {
        if (slot != 0) {
            used->used_slot = (uint16_t)(slot / UNWIND_RULE_WORD);
            c->bp = unwind_load(cfa - slot);
        }
        c->pc = unwind_load(cfa - UNWIND_RULE_WORD);
        c->sp = cfa;
        c->exact = false;
        used->used_bp = !by_rsp;
        used->used_hard = c->pc == 0;
        return UMEM_LIKELY(c->pc != 0) ? UNWIND_STEP_DONE : UNWIND_STEP_END;
    }
    if (rule == UNWIND_RULE_END)
        return UNWIND_STEP_END;
    enum unwind_step step = step_slow(t, rule, c, win);
    return step == UNWIND_STEP_DONE && c->pc == 0 ? UNWIND_STEP_END : step;
}

/* Answers of walk() that are no count: start again, rules were stale; or walk in full. */
#define WALK_AGAIN UINT32_MAX
#define WALK_FULL (UINT32_MAX - 1)
/* Stale rules are forgotten with their whole object: once more is enough, mostly. */
#define TRIES 2

/*
 * The cursor and the window live in registers here and in structures for
 * everything that is not hot: through memory a frame takes twice as long.
 *
 * From a return address to the next is a chain of some 20 cycles: multiply,
 * load the rule, add, load the address.  An entry's guess of the next entry
 * breaks it: the rule is loaded and used before the address that it is for has
 * arrived, which is then only compared.
 */
static inline __attribute__((always_inline)) UNWIND_RAW_STACK uint32_t
walk(struct entry *t, uintptr_t *frames, uint32_t max, uint32_t skip, struct unwind_cursor c)
{
    uintptr_t *out = frames;
    uintptr_t sp = c.sp, bp = c.bp;
    uintptr_t addr = c.pc - 1; /* the key of c.pc */
    struct entry *entry = &t[spread_index(spread(addr))];
    struct entry *from = entry;
    struct unwind_window win;

    unwind_window_start(&win, sp);
    uintptr_t hi = win.win_lo + win.win_size;
    while (out != frames + max) {
        uint64_t word = entry_load(entry);
        uint64_t product = spread(addr);
        if (UMEM_UNLIKELY(product != entry_product((size_t)(entry - t), word))) {
            entry = &t[spread_index(product)];
            guess_correct(from, (size_t)(entry - t));
            word = entry_load(entry);
            if (word >> 32 != spread_tag(product))
                word = UNWIND_NONE;
        }
        from = entry;
        entry = &t[entry_guess(entry)];

        uint32_t rule = (uint32_t)word;
        uintptr_t cfa = (rule & UNWIND_RULE_RSP_BIT ? sp : bp) + unwind_rule_offset(rule);
        uintptr_t slot = unwind_rule_rbp(rule) * UNWIND_RULE_WORD;
        uintptr_t pc;
        if (UMEM_LIKELY((rule & UNWIND_RULE_HOT_MASK) == UNWIND_RULE_HOT && cfa > sp && cfa <= hi &&
                        (cfa & (UNWIND_RULE_WORD - 1)) == 0 && cfa - slot >= sp)) {
            if (slot != 0)
                bp = unwind_load(cfa - slot);
            pc = unwind_load(cfa - UNWIND_RULE_WORD);
            addr = pc - 1;
            sp = cfa;
        } else if (rule == UNWIND_RULE_END) {
            break;
        } else {
            c.exact = addr == c.pc;
            c = (struct unwind_cursor){addr + !c.exact, sp, bp, c.exact};
            enum unwind_step step = step_slow(t, rule, &c, &win);
            if (step == UNWIND_STEP_END)
                break;
            if (step != UNWIND_STEP_DONE)
                return step == UNWIND_STEP_FULL ? WALK_FULL : WALK_AGAIN;
            pc = c.pc, sp = c.sp, bp = c.bp;
            addr = pc - !c.exact; /* c.pc stays: by it an exact address is known again */
            hi = win.win_lo + win.win_size;
        }
        if (UMEM_UNLIKELY(pc == 0))
            break;
        if (UMEM_LIKELY(skip == 0))
            *out++ = pc;
        else
            skip--;
    }
    return (uint32_t)(out - frames);
}

UMEM_NOINLINE bool
unwind_is_stale(uintptr_t pc)
{
    struct unwind_object obj;
    bool forgotten = false;

    return unwind_object_find(pc - 1, &obj) && unwind_object_known(&obj, &forgotten) && forgotten;
}

UMEM_NOINLINE UNWIND_RAW_STACK uint32_t
os_unwind(uintptr_t *frames, uint32_t max, uint32_t skip)
{
    static UMEM_TLS uint32_t walks;
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    const struct unwind_cursor start = {.pc = unwind_load(frame + sizeof(uintptr_t)),
                                        .sp = frame + 2 * sizeof(uintptr_t),
                                        .bp = unwind_load(frame),
                                        .exact = false};
    struct entry *t = table_get();
    uint32_t n = WALK_AGAIN;

    for (int tries = 0; n == WALK_AGAIN && tries < TRIES && t != NULL; tries++) {
        n = walk(t, frames, max, skip, start);
        if (UMEM_UNLIKELY(++walks % UNWIND_WALKS_CHECKED == 0 && n <= max && n > 0) &&
            unwind_is_stale(frames[walks / UNWIND_WALKS_CHECKED % n]))
            n = WALK_AGAIN;
    }
    if (UMEM_UNLIKELY(n == WALK_AGAIN || n == WALK_FULL))
        n = unwind_full(frames, max, skip, start.sp);
    return n;
}

bool
os_unwind_is_signal(uintptr_t pc)
{
    struct entry *t = table_get();
    bool forgotten;

    if (t == NULL)
        return false;
    uint64_t product = spread(pc - 1);
    uint64_t entry = entry_load(&t[spread_index(product)]);
    uint32_t rule = entry >> 32 == spread_tag(product) ? (uint32_t)entry : UNWIND_NONE;
    if (rule == UNWIND_NONE)
        rule = rule_miss(t, pc - 1, false, &forgotten);
    return unwind_rule_kind(rule) == UNWIND_SIGNAL;
}

#else

/* The chain of frame pointers: {caller's frame pointer, return address} at each. */
UMEM_NOINLINE UNWIND_RAW_STACK uint32_t
os_unwind(uintptr_t *frames, uint32_t max, uint32_t skip)
{
    struct unwind_window win;
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0), next, pc;
    uint32_t n = 0;

    unwind_window_start(&win, frame);
    if (!unwind_read(&win, frame, &next))
        return 0;
    while (n < max && next > frame) {
        frame = next;
        if (!unwind_read(&win, frame, &next) ||
            !unwind_read(&win, frame + sizeof(uintptr_t), &pc) || pc == 0)
            break;
        if (skip == 0)
            frames[n++] = pc;
        else
            skip--;
    }
    return n;
}

bool
os_unwind_is_signal(uintptr_t pc)
{
    (void)pc;
    return false;
}

#endif
