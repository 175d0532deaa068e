/* SPDX-License-Identifier: MIT */
/*
 * unwind_rule.c - from an address to its rule: what a miss in the table
 * costs.  Packs a row of the call frame information into 32 bits where it has
 * one of the shapes that compilers make; says UNWIND_FULL where not.
 *
 * State: one flag.  No lock.
 */
#include "os/unwind_impl.h"

#if defined(__x86_64__)

#include <string.h>
#include <ucontext.h>

/* DWARF 5, section 7.7.1. */
enum {
    OP_DEREF = 0x06,
    OP_PLUS_UCONST = 0x23,
    OP_LIT0 = 0x30,
    OP_LIT31 = 0x4f,
    OP_BREG0 = 0x70,
    OP_BREG31 = 0x8f
};

_Atomic bool unwind_guessed;

#define WORD UNWIND_RULE_WORD
/* The furthest below the CFA that a rule can say rbp lies, in words. */
#define RBP_SLOT_MAX (UNWIND_RULE_RBP_AT_RBP - 1)

/* Where the kernel's ucontext keeps a register. */
#define UCONTEXT_AT(greg)                                                                          \
    ((int64_t)(offsetof(ucontext_t, uc_mcontext.gregs) + (size_t)(greg) * sizeof(greg_t)))

/* "reg + offset", or "*(reg + offset) + addend". */
struct simple_expr {
    unsigned reg;
    int64_t offset;
    bool deref;
    uint64_t addend;
};

static bool
parse_simple(const uint8_t *expr, struct simple_expr *out)
{
    struct unwind_reader r = unwind_block(expr);
    unsigned op = (unsigned)unwind_read_uint(&r, 1);

    memset(out, 0, sizeof(*out));
    if (op < OP_BREG0 || op > OP_BREG31)
        return false;
    out->reg = op - OP_BREG0;
    out->offset = unwind_read_sleb(&r);
    if (r.read_p < r.read_end) {
        out->deref = unwind_read_uint(&r, 1) == OP_DEREF;
        if (!out->deref)
            return false;
    }
    if (r.read_p < r.read_end) {
        if (unwind_read_uint(&r, 1) != OP_PLUS_UCONST)
            return false;
        out->addend = unwind_read_uleb(&r);
    }
    return !r.read_bad && r.read_p == r.read_end;
}

/* Whether the register is saved at rsp + offset, said by an expression. */
static bool
saved_at_rsp(const struct unwind_saved *saved, int64_t offset)
{
    struct simple_expr e;

    return saved->saved_how == UNWIND_EXPRESSION &&
           parse_simple((const uint8_t *)(intptr_t)saved->saved_value, &e) && !e.deref &&
           e.reg == UNWIND_RSP && e.offset == offset;
}

/* Whether the row is that of libc's signal return: every register in the ucontext at rsp. */
static bool
is_ucontext(const struct unwind_row *row)
{
    return row->row_signal && saved_at_rsp(&row->row_reg[UNWIND_RIP], UCONTEXT_AT(REG_RIP)) &&
           saved_at_rsp(&row->row_reg[UNWIND_RSP], UCONTEXT_AT(REG_RSP)) &&
           saved_at_rsp(&row->row_reg[UNWIND_RBP], UCONTEXT_AT(REG_RBP));
}

static uint32_t
special(enum unwind_special what)
{
    return UNWIND_SPECIAL | (uint32_t)what << UNWIND_RULE_OFFSET_SHIFT;
}

/* Kind and offset; UNWIND_NONE where the offset has no room. */
static uint32_t
pack_offset(enum unwind_kind kind, int64_t offset)
{
    if (offset % WORD != 0 || offset / WORD > UNWIND_RULE_OFFSET_MAX ||
        offset / WORD < -UNWIND_RULE_OFFSET_MAX)
        return UNWIND_NONE;
    return (uint32_t)kind | (uint32_t)(offset / WORD) << UNWIND_RULE_OFFSET_SHIFT;
}

/*
 * The expression that linkers give lazy PLT entries of 16 bytes: the push of
 * the relocation's index makes the CFA a word further away from its end on.
 *   rsp + 8 + (((rip & 15) >= N) << 3)
 */
static bool
pack_plt(const uint8_t *expr, uintptr_t pc, uint32_t *rule)
{
    static const uint8_t head[] = {11, 0x77, 8, 0x80, 0, 0x3f, 0x1a};
    static const uint8_t tail[] = {0x2a, 0x33, 0x24, 0x22};
    uint8_t lit;

    if (memcmp(expr, head, sizeof(head)) != 0)
        return false;
    lit = expr[sizeof(head)];
    if (lit < OP_LIT0 || lit > OP_LIT31 || memcmp(expr + sizeof(head) + 1, tail, sizeof(tail)) != 0)
        return false;
    *rule = pack_offset(UNWIND_FROM_RSP, (pc & 15) >= (unsigned)(lit - OP_LIT0) ? 2 * WORD : WORD);
    return true;
}

/* The part of a rule that finds the CFA; UNWIND_NONE where it has no room there. */
static uint32_t
pack_cfa(const struct unwind_row *row, uintptr_t pc)
{
    struct simple_expr e;
    uint32_t rule;

    if (row->row_cfa_expr == NULL) {
        if (row->row_cfa_reg == UNWIND_RSP)
            return pack_offset(UNWIND_FROM_RSP, row->row_cfa_offset);
        if (row->row_cfa_reg == UNWIND_RBP)
            return pack_offset(UNWIND_FROM_RBP, row->row_cfa_offset);
        return UNWIND_NONE;
    }
    if (pack_plt(row->row_cfa_expr, pc, &rule))
        return rule;
    if (!parse_simple(row->row_cfa_expr, &e) || (e.reg != UNWIND_RSP && e.reg != UNWIND_RBP))
        return UNWIND_NONE;
    if (!e.deref)
        return pack_offset(e.reg == UNWIND_RSP ? UNWIND_FROM_RSP : UNWIND_FROM_RBP, e.offset);
    if (e.addend % WORD != 0 || e.addend / WORD > UNWIND_RULE_ADDEND_MAX)
        return UNWIND_NONE;
    rule = pack_offset(e.reg == UNWIND_RSP ? UNWIND_RSP_DEREF : UNWIND_RBP_DEREF, e.offset);
    return rule |
           (rule == UNWIND_NONE ? 0 : (uint32_t)(e.addend / WORD) << UNWIND_RULE_ADDEND_SHIFT);
}

/* Adds where rbp is saved; UNWIND_NONE where it has no room. */
static uint32_t
pack_rbp(uint32_t rule, const struct unwind_saved *rbp)
{
    struct simple_expr e;
    int64_t slot;

    switch (rbp->saved_how) {
    case UNWIND_SAME:
    case UNWIND_UNDEFINED:
        return rule;
    case UNWIND_OFFSET:
        slot = -rbp->saved_value / WORD;
        if (rbp->saved_value % WORD != 0 || slot < 1 || slot > RBP_SLOT_MAX)
            return UNWIND_NONE;
        return rule | (uint32_t)slot << UNWIND_RULE_RBP_SHIFT;
    case UNWIND_EXPRESSION: /* realigned stacks: rbp is saved where it points */
        if ((rule & UNWIND_RULE_HOT_MASK) == UNWIND_RULE_HOT ||
            !parse_simple((const uint8_t *)(intptr_t)rbp->saved_value, &e) || e.deref ||
            e.reg != UNWIND_RBP || e.offset != 0)
            return UNWIND_NONE;
        return rule | (uint32_t)UNWIND_RULE_RBP_AT_RBP << UNWIND_RULE_RBP_SHIFT;
    default:
        return UNWIND_NONE;
    }
}

static uint32_t
pack(const struct unwind_row *row, uintptr_t pc)
{
    const struct unwind_saved *rip = &row->row_reg[UNWIND_RIP];
    uint32_t rule;

    if (rip->saved_how == UNWIND_UNDEFINED)
        return special(UNWIND_END);
    if (is_ucontext(row))
        return UNWIND_SIGNAL;
    if (row->row_signal || rip->saved_how != UNWIND_OFFSET || rip->saved_value != -WORD ||
        row->row_reg[UNWIND_RSP].saved_how != UNWIND_SAME)
        return special(UNWIND_FULL);
    rule = pack_cfa(row, pc);
    if (rule != UNWIND_NONE)
        rule = pack_rbp(rule, &row->row_reg[UNWIND_RBP]);
    return rule == UNWIND_NONE ? special(UNWIND_FULL) : rule;
}

/* Whether pc follows a call instruction: E8, or FF /2 in its lengths. */
static UNWIND_RAW_STACK bool
follows_call(uintptr_t pc)
{
    enum { CALL_MIN = 2, CALL_MAX = 7, CALL_DIRECT = 5 };
    uintptr_t readable = 0; /* bytes before pc */

    /* The code may begin a page below which there is nothing. */
    if (unwind_probe(umem_align_down(pc - 1, WORD)))
        readable = unwind_probe(umem_align_down(pc - CALL_MAX, WORD)) ? CALL_MAX : pc % WORD;
    const uint8_t *code = (const uint8_t *)pc;
    if (readable >= CALL_DIRECT && code[-CALL_DIRECT] == 0xe8)
        return true;
    for (int length = CALL_MIN; length <= (int)readable; length++) {
        if (code[-length] == 0xff && (code[1 - length] & 0x38) == 0x10)
            return true;
    }
    return false;
}

/* memcmp() for addresses that no sanitizer knows. */
static UNWIND_RAW_STACK bool
code_is(uintptr_t pc, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (((const volatile uint8_t *)pc)[i] != bytes[i])
            return false;
    }
    return true;
}

/*
 * Code without tables.  The kernel's way back from a signal is known by its
 * bytes, as debuggers know it: mov $15,%rax; syscall.
 */
static uint32_t
guess(uintptr_t pc, bool exact)
{
    static const uint8_t sigreturn[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};

    if (unwind_probe(umem_align_down(pc, WORD)) &&
        unwind_probe(umem_align_down(pc + sizeof(sigreturn) - 1, WORD)) &&
        code_is(pc, sigreturn, sizeof(sigreturn)))
        return UNWIND_SIGNAL;
    return special(exact || follows_call(pc) ? UNWIND_NOCFI : UNWIND_BOGUS);
}

uint32_t
unwind_rule_compute(uintptr_t addr, bool exact, bool *keep, bool *forgotten)
{
    struct unwind_object obj;
    struct unwind_row row;
    uintptr_t pc = exact ? addr : addr + 1;

    *keep = *forgotten = false;
    if (unwind_object_find(addr, &obj)) {
        *keep = unwind_object_known(&obj, forgotten);
        if (unwind_cfi_row(&obj, addr, &row))
            return pack(&row, pc);
    }
    uint32_t rule = guess(pc, exact);
    /* What is no code now may be some later; what is code may be an object's later. */
    *keep = rule != special(UNWIND_BOGUS);
    if (*keep)
        atomic_store_explicit(&unwind_guessed, true, memory_order_relaxed);
    return rule;
}

#endif
