/* SPDX-License-Identifier: MIT */
/*
 * unwind_impl.h - what the files of the unwinder share; nobody else includes
 * it.  The essay is at the head of unwind.c.
 *
 *   unwind.c         the rule table and the hot walker
 *   unwind_trail.c   the walker that remembers its last walk
 *   unwind_rule.c    from an address to its rule, on a miss
 *   unwind_cfi.c     .eh_frame: finding a row, the CFA interpreter
 *   unwind_full.c    the slow walker with every register, DWARF expressions
 *   unwind_object.c  which loaded object holds an address
 *   unwind_stack.c   which stack memory may be read
 */
#ifndef UMEM_UNWIND_IMPL_H
#define UMEM_UNWIND_IMPL_H

#include "base/base.h"

/*
 * The stack is read past what the compiler knows of it; the sanitizers would
 * take that for an overrun of some local variable.
 */
#if defined(__clang__)
#define UNWIND_RAW_STACK __attribute__((no_sanitize("address", "thread", "undefined")))
#else
#define UNWIND_RAW_STACK __attribute__((no_sanitize("address,thread,undefined")))
#endif

static inline UNWIND_RAW_STACK uintptr_t
unwind_load(uintptr_t addr)
{
    return *(const volatile uintptr_t *)addr;
}

/* --- unwind_stack.c --- */

/* Readable memory [win_lo, win_lo + win_size), both multiples of a word. */
struct unwind_window {
    uintptr_t win_lo;
    uintptr_t win_size;
};

/*
 * The calling thread's own stack, as far as it is proven: see unwind_stack.c.
 * A signal handler may extend it between any two instructions of a walk, so
 * only own_lo ever changes once it is not 0.
 */
struct unwind_stack {
    uintptr_t own_lo;  /* [own_lo, own_top) is this thread's stack for good; 0: not proven */
    uintptr_t own_top; /* where the stack ends: the anchor, 0 not looked for yet */
    uintptr_t own_gap; /* an unreadable page below own_lo: what lies below it is not ours */
};
extern UMEM_TLS struct unwind_stack unwind_stack __attribute__((visibility("hidden")));

/* The start of the proven part where addr lies in it, else 0. */
static inline uintptr_t
unwind_own_start(uintptr_t addr)
{
    uintptr_t lo = unwind_stack.own_lo;

    return UMEM_LIKELY(lo != 0 && addr - lo < unwind_stack.own_top - lo) ? lo : 0;
}

/* Whether the word at addr lies in the window and is aligned. */
static inline bool
unwind_in_window(const struct unwind_window *win, uintptr_t addr)
{
    uintptr_t offset = addr - win->win_lo;

    return (offset & (sizeof(uintptr_t) - 1)) == 0 && offset < win->win_size;
}

/* The window of a walk that starts at sp, on the stack that we run on. */
void unwind_window_find(struct unwind_window *win, uintptr_t sp);

static inline void
unwind_window_start(struct unwind_window *win, uintptr_t sp)
{
    win->win_lo = sp;
    win->win_size = unwind_stack.own_top - sp;
    if (UMEM_UNLIKELY(unwind_own_start(sp) == 0))
        unwind_window_find(win, sp);
}

/* Moves or widens the window so that the word at addr is in it; false: not readable. */
bool unwind_window_reach(struct unwind_window *win, uintptr_t addr);
/* The walk goes on at sp of another stack (a signal frame). False: not readable. */
bool unwind_window_switch(struct unwind_window *win, uintptr_t sp);
/* Whether the word at addr (aligned) can be read; a system call. */
bool unwind_probe(uintptr_t addr);

/* Reads a word of the stack through the window; false where it must not be read. */
static inline UNWIND_RAW_STACK bool
unwind_read(struct unwind_window *win, uintptr_t addr, uintptr_t *value)
{
    if (UMEM_UNLIKELY(!unwind_in_window(win, addr)) && !unwind_window_reach(win, addr))
        return false;
    *value = unwind_load(addr);
    return true;
}

#if defined(__x86_64__)

/* --- Registers, by their DWARF numbers (System V ABI, AMD64 supplement, table 3.36) --- */

enum {
    UNWIND_RBX = 3,
    UNWIND_RBP = 6,
    UNWIND_RSP = 7,
    UNWIND_R12 = 12,
    UNWIND_R13 = 13,
    UNWIND_R14 = 14,
    UNWIND_R15 = 15,
    UNWIND_RIP = 16,
    UNWIND_REGS = 17
};

/* --- unwind_object.c --- */

struct unwind_object {
    uintptr_t obj_start; /* [start, end) is its alone: all of it, or one segment of several */
    uintptr_t obj_end;
    uintptr_t obj_hdr;          /* .eh_frame_hdr */
    uintptr_t obj_tables_start; /* the tables lie in [start, end) */
    uintptr_t obj_tables_end;
    uintptr_t obj_handle; /* ld.so's record of it */
};

/* The loaded object that holds addr and its unwind data; takes no lock. */
bool unwind_object_find(uintptr_t addr, struct unwind_object *obj);
/*
 * Whether rules computed from the object may be kept.  An object not met
 * before at these addresses first has every rule forgotten that was learnt
 * from what was there earlier; *forgotten says so.
 */
bool unwind_object_known(const struct unwind_object *obj, bool *forgotten);

/* --- unwind_cfi.c --- */

enum unwind_how {
    UNWIND_SAME = 0, /* also where the tables say nothing */
    UNWIND_UNDEFINED,
    UNWIND_OFFSET,         /* saved at CFA + value */
    UNWIND_VAL_OFFSET,     /* is CFA + value */
    UNWIND_REGISTER,       /* is in register value */
    UNWIND_EXPRESSION,     /* saved where the expression at value says */
    UNWIND_VAL_EXPRESSION, /* is what the expression at value says */
    UNWIND_RESTORE         /* while a CIE runs, no rule of a row */
};

struct unwind_saved {
    enum unwind_how saved_how;
    int64_t saved_value;
};

/* How the frame of one address is undone. */
struct unwind_row {
    const uint8_t *row_cfa_expr; /* the CFA's expression, or NULL: register + offset */
    uint64_t row_cfa_reg;
    int64_t row_cfa_offset;
    bool row_signal; /* a signal frame: the address it leads to was not called from */
    struct unwind_saved row_reg[UNWIND_REGS];
};

/* A checked reader of unwind data. */
struct unwind_reader {
    const uint8_t *read_p;
    const uint8_t *read_end;
    bool read_bad; /* ran past the end or met what is not understood */
};

uint64_t unwind_read_uint(struct unwind_reader *r, unsigned bytes);
uint64_t unwind_read_uleb(struct unwind_reader *r);
int64_t unwind_read_sleb(struct unwind_reader *r);
/* A reader over the block of bytes that starts with its ULEB length at p. */
struct unwind_reader unwind_block(const uint8_t *p);

/* The row for addr in the object's tables; false where they have none. */
bool unwind_cfi_row(const struct unwind_object *obj, uintptr_t addr, struct unwind_row *row);

/* --- unwind_rule.c --- */

/*
 * A rule in 32 bits:
 *   0..2   kind
 *   3..6   RSP_DEREF, RBP_DEREF: added to the word read, in words
 *   7..14  where rbp is saved: 0 nowhere, 255 at the address in rbp (with the
 *          DEREF kinds only), else so many words below the CFA
 *   15..31 signed offset in words
 */
enum unwind_kind {
    UNWIND_NONE = 0,      /* no rule: an empty entry of the table */
    UNWIND_SIGNAL = 1,    /* rsp points to the kernel's ucontext */
    UNWIND_RBP_DEREF = 2, /* CFA = *(rbp + offset) + addend */
    UNWIND_RSP_DEREF = 3, /* CFA = *(rsp + offset) + addend */
    UNWIND_FROM_RBP = 4,  /* CFA = rbp + offset */
    UNWIND_FROM_RSP = 5,  /* CFA = rsp + offset */
    UNWIND_SPECIAL = 6    /* the offset is an enum unwind_special */
};
/* The last two CFA kinds are nearly every frame's, told by two bits. */
#define UNWIND_RULE_HOT_MASK 6u
#define UNWIND_RULE_HOT 4u
#define UNWIND_RULE_RSP_BIT 1u
enum unwind_special {
    UNWIND_END,   /* the outermost frame */
    UNWIND_NOCFI, /* code without tables that was called from: try its frame pointer */
    UNWIND_BOGUS, /* nothing says that this is code */
    UNWIND_FULL   /* needs the slow walker */
};

#define UNWIND_RULE_WORD 8
#define UNWIND_RULE_ADDEND_SHIFT 3
#define UNWIND_RULE_ADDEND_MAX 15
#define UNWIND_RULE_RBP_SHIFT 7
#define UNWIND_RULE_RBP_AT_RBP 255
#define UNWIND_RULE_OFFSET_SHIFT 15
#define UNWIND_RULE_OFFSET_MAX ((1 << 16) - 1)
#define UNWIND_RULE_END (UNWIND_SPECIAL | (uint32_t)UNWIND_END << UNWIND_RULE_OFFSET_SHIFT)

static inline enum unwind_kind
unwind_rule_kind(uint32_t rule)
{
    return (enum unwind_kind)(rule & 7);
}

static inline uintptr_t
unwind_rule_addend(uint32_t rule)
{
    return (rule >> UNWIND_RULE_ADDEND_SHIFT & UNWIND_RULE_ADDEND_MAX) * UNWIND_RULE_WORD;
}

static inline uintptr_t
unwind_rule_rbp(uint32_t rule)
{
    return rule >> UNWIND_RULE_RBP_SHIFT & 255;
}

/* In bytes; added modulo 2^64, so that a negative one needs no branch. */
static inline uintptr_t
unwind_rule_offset(uint32_t rule)
{
    return (uintptr_t)(intptr_t)((int32_t)rule >> UNWIND_RULE_OFFSET_SHIFT) * UNWIND_RULE_WORD;
}

static inline enum unwind_special
unwind_rule_special(uint32_t rule)
{
    return (enum unwind_special)(rule >> UNWIND_RULE_OFFSET_SHIFT);
}

static inline bool
unwind_rule_is_bogus(uint32_t rule)
{
    return unwind_rule_kind(rule) == UNWIND_SPECIAL && unwind_rule_special(rule) == UNWIND_BOGUS;
}

/*
 * The rule of an address: a return address less 1, or (exact) where a signal
 * struck.  *keep: it may be stored; *forgotten as above.
 */
extern _Atomic bool unwind_guessed __attribute__((visibility("hidden"))); /* rules without tables */
uint32_t unwind_rule_compute(uintptr_t addr, bool exact, bool *keep, bool *forgotten);

/* --- unwind.c --- */

/* Forgets every stored rule of addresses in [start, end), and counts that in unwind_forgets. */
void unwind_table_forget(uintptr_t start, uintptr_t end);
extern _Atomic uint32_t unwind_forgets __attribute__((visibility("hidden")));

/* Where a walk is: the frame to be undone next. */
struct unwind_cursor {
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t bp;
    bool exact; /* a signal struck at pc; else pc is a return address */
};

enum unwind_step {
    UNWIND_STEP_DONE,
    UNWIND_STEP_END,  /* nothing further out */
    UNWIND_STEP_FULL, /* the slow walker is needed */
    UNWIND_STEP_AGAIN /* rules were stale: start again */
};

/*
 * What a step went by besides pc and sp, and the word below the new sp: where
 * it was by a rule of the common kinds, nothing else.
 */
struct unwind_used {
    bool used_hard;     /* it was by another rule, or at its end by what the stack says */
    bool used_bp;       /* the old rbp */
    uint16_t used_slot; /* words from the new sp down to the new rbp; 0: it is the old one */
};
/* One step outwards.  used: not said where it is UNWIND_STEP_AGAIN. */
enum unwind_step unwind_step(struct unwind_cursor *c, struct unwind_window *win,
                             struct unwind_used *used);

/* One walk of so many has one of its frames looked up anew: 300 ns at most, 1 ns a walk. */
#define UNWIND_WALKS_CHECKED 256
/* Looks a frame's object up: other than the one its rule came from? (unwind_object.c) */
bool unwind_is_stale(uintptr_t pc);

/* --- unwind_full.c --- */

/* os_unwind() by the slow walker, for the frame of os_unwind whose CFA is given. */
uint32_t unwind_full(uintptr_t *frames, uint32_t max, uint32_t skip, uintptr_t cfa);

#endif
#endif
