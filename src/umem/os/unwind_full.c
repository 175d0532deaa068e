/* SPDX-License-Identifier: MIT */
/*
 * unwind_full.c - the slow walker: every register of the machine, every kind
 * of rule, DWARF expressions.
 *
 * os_unwind() turns to it where a frame needs more than rsp and rbp: ld.so's
 * lazy resolver finds its CFA by rbx, hand-written assembler by anything.  It
 * starts over from its own frame, where all registers are known, and costs
 * microseconds.  What a signal frame or the tables do not give is unknown; a
 * frame that needs an unknown register ends the walk.
 *
 * Reads the stack through a window like the fast walk; no state, no lock.
 */
#include "os/unwind_impl.h"

#if defined(__x86_64__)

#include <string.h>

struct regs {
    uintptr_t value[UNWIND_REGS];
    uint32_t known; /* bit set of registers */
    bool exact;     /* a signal struck at rip */
    struct unwind_window win;
};

static bool
get(const struct regs *regs, uint64_t reg, uintptr_t *value)
{
    if (reg >= UNWIND_REGS || (regs->known >> reg & 1) == 0)
        return false;
    *value = regs->value[reg];
    return true;
}

static void
set(struct regs *regs, unsigned reg, uintptr_t value)
{
    regs->value[reg] = value;
    regs->known |= 1u << reg;
}

/* --- Expressions: DWARF 5, section 2.5, the part that makes sense here --- */

#define EXPR_STACK 16
/* No compiler's expression comes near; ends a loop made by a bad branch. */
#define EXPR_STEPS 256

enum {
    OP_ADDR = 0x03,
    OP_DEREF = 0x06,
    OP_CONST1U = 0x08, /* then 1s, 2u, 2s, 4u, 4s, 8u, 8s */
    OP_CONST8S = 0x0f,
    OP_CONSTU = 0x10,
    OP_CONSTS = 0x11,
    OP_DUP = 0x12,
    OP_DROP = 0x13,
    OP_OVER = 0x14,
    OP_PICK = 0x15,
    OP_SWAP = 0x16,
    OP_ROT = 0x17,
    OP_ABS = 0x19,
    OP_AND = 0x1a,
    OP_DIV = 0x1b,
    OP_MINUS = 0x1c,
    OP_MOD = 0x1d,
    OP_MUL = 0x1e,
    OP_NEG = 0x1f,
    OP_NOT = 0x20,
    OP_OR = 0x21,
    OP_PLUS = 0x22,
    OP_PLUS_UCONST = 0x23,
    OP_SHL = 0x24,
    OP_SHR = 0x25,
    OP_SHRA = 0x26,
    OP_XOR = 0x27,
    OP_BRA = 0x28,
    OP_EQ = 0x29,
    OP_GE = 0x2a,
    OP_GT = 0x2b,
    OP_LE = 0x2c,
    OP_LT = 0x2d,
    OP_NE = 0x2e,
    OP_SKIP = 0x2f,
    OP_LIT0 = 0x30,
    OP_LIT31 = 0x4f,
    OP_BREG0 = 0x70,
    OP_BREG31 = 0x8f,
    OP_BREGX = 0x92,
    OP_NOP = 0x96
};

struct expr {
    struct unwind_reader r;
    const uint8_t *start;
    uintptr_t stack[EXPR_STACK];
    unsigned depth;
    bool bad;
};

static void
push(struct expr *e, uintptr_t value)
{
    if (e->depth == EXPR_STACK)
        e->bad = true;
    else
        e->stack[e->depth++] = value;
}

/* The value i below the top, without taking it. */
static uintptr_t
pick(struct expr *e, uint64_t i)
{
    if (i >= e->depth) {
        e->bad = true;
        return 0;
    }
    return e->stack[e->depth - 1 - (unsigned)i];
}

static uintptr_t
pop(struct expr *e)
{
    uintptr_t value = pick(e, 0);

    if (!e->bad)
        e->depth--;
    return value;
}

static void
jump(struct expr *e, int64_t distance)
{
    int64_t target = (e->r.read_p - e->start) + distance;

    if (target < 0 || target > e->r.read_end - e->start)
        e->bad = true;
    else
        e->r.read_p = e->start + target;
}

static uintptr_t
relation(unsigned op, intptr_t a, intptr_t b)
{
    switch (op) {
    case OP_EQ:
        return a == b;
    case OP_GE:
        return a >= b;
    case OP_GT:
        return a > b;
    case OP_LE:
        return a <= b;
    case OP_LT:
        return a < b;
    default: /* OP_NE */
        return a != b;
    }
}

/* Shifts by more than the width push everything out. */
static uintptr_t
shift(unsigned op, uintptr_t a, uintptr_t b)
{
    if (op == OP_SHRA)
        /* cppcheck-suppress shiftTooManyBitsSigned; arithmetic, as gcc and clang define it */
        return (uintptr_t)((intptr_t)a >> (b < 64 ? b : 63));
    if (b >= 64)
        return 0;
    return op == OP_SHL ? a << b : a >> b;
}

static uintptr_t
arithmetic(unsigned op, uintptr_t a, uintptr_t b)
{
    switch (op) {
    case OP_AND:
        return a & b;
    case OP_DIV:
        return (uintptr_t)((intptr_t)a / (intptr_t)b);
    case OP_MINUS:
        return a - b;
    case OP_MOD:
        return a % b;
    case OP_MUL:
        return a * b;
    case OP_OR:
        return a | b;
    case OP_PLUS:
        return a + b;
    case OP_XOR:
        return a ^ b;
    case OP_SHL:
    case OP_SHR:
    case OP_SHRA:
        return shift(op, a, b);
    default:
        return relation(op, (intptr_t)a, (intptr_t)b);
    }
}

/* Operators of two values, the second on top; false: none of these. */
static bool
binary(struct expr *e, unsigned op)
{
    if (op < OP_AND || op > OP_NE || op == OP_NEG || op == OP_NOT || op == OP_PLUS_UCONST ||
        op == OP_BRA)
        return false;
    uintptr_t b = pop(e);
    uintptr_t a = pop(e);

    if ((op == OP_DIV || op == OP_MOD) && (b == 0 || (a == (uintptr_t)INTPTR_MIN && b + 1 == 0)))
        e->bad = true;
    else
        push(e, arithmetic(op, a, b));
    return true;
}

/* Operators that push a value of their own; false: none of these. */
static bool
literal(struct expr *e, unsigned op, const struct regs *regs)
{
    uintptr_t base = 0;
    uint64_t value;

    if (op >= OP_LIT0 && op <= OP_LIT31) {
        push(e, op - OP_LIT0);
    } else if ((op >= OP_BREG0 && op <= OP_BREG31) || op == OP_BREGX) {
        uint64_t reg = op == OP_BREGX ? unwind_read_uleb(&e->r) : op - OP_BREG0;
        e->bad |= !get(regs, reg, &base);
        push(e, base + (uintptr_t)unwind_read_sleb(&e->r));
    } else if (op >= OP_CONST1U && op <= OP_CONST8S) {
        unsigned bytes = 1u << ((op - OP_CONST1U) / 2);
        unsigned shift = 64 - 8 * bytes;
        value = unwind_read_uint(&e->r, bytes) << shift;
        push(e, (op - OP_CONST1U) % 2 == 0 ? value >> shift : (uintptr_t)((int64_t)value >> shift));
    } else if (op == OP_ADDR) {
        push(e, unwind_read_uint(&e->r, sizeof(uintptr_t)));
    } else if (op == OP_CONSTU) {
        push(e, unwind_read_uleb(&e->r));
    } else if (op == OP_CONSTS) {
        push(e, (uintptr_t)unwind_read_sleb(&e->r));
    } else {
        return false;
    }
    return true;
}

/* What is left: the stack's own operators, one operand, branches, memory. */
static void
other(struct expr *e, unsigned op, struct unwind_window *win)
{
    uintptr_t a, b, c;
    int64_t distance;

    switch (op) {
    case OP_DEREF:
        e->bad |= !unwind_read(win, pop(e), &a);
        push(e, e->bad ? 0 : a);
        break;
    case OP_DUP:
        push(e, pick(e, 0));
        break;
    case OP_DROP:
        pop(e);
        break;
    case OP_OVER:
        push(e, pick(e, 1));
        break;
    case OP_PICK:
        push(e, pick(e, unwind_read_uint(&e->r, 1)));
        break;
    case OP_SWAP:
        a = pop(e);
        b = pop(e);
        push(e, a);
        push(e, b);
        break;
    case OP_ROT:
        a = pop(e);
        b = pop(e);
        c = pop(e);
        push(e, a);
        push(e, c);
        push(e, b);
        break;
    case OP_ABS:
        a = pop(e);
        push(e, (intptr_t)a < 0 ? 0 - a : a);
        break;
    case OP_NEG:
        push(e, 0 - pop(e));
        break;
    case OP_NOT:
        push(e, ~pop(e));
        break;
    case OP_PLUS_UCONST:
        push(e, pop(e) + unwind_read_uleb(&e->r));
        break;
    case OP_SKIP:
    case OP_BRA:
        distance = (int16_t)unwind_read_uint(&e->r, 2);
        if (op == OP_SKIP || pop(e) != 0)
            jump(e, distance);
        break;
    case OP_NOP:
        break;
    default:
        e->bad = true;
    }
}

/* Evaluates the block at p, with *initial pushed first where it is given. */
static bool
evaluate(const uint8_t *p, struct regs *regs, const uintptr_t *initial, uintptr_t *result)
{
    struct expr e = {.r = unwind_block(p)};

    e.start = e.r.read_p;
    if (initial != NULL)
        push(&e, *initial);
    for (int steps = 0; e.r.read_p < e.r.read_end; steps++) {
        unsigned op = (unsigned)unwind_read_uint(&e.r, 1);
        if (!literal(&e, op, regs) && (op == OP_SKIP || !binary(&e, op)))
            other(&e, op, &regs->win);
        if (e.bad || e.r.read_bad || steps == EXPR_STEPS)
            return false;
    }
    *result = pop(&e);
    return !e.bad;
}

/* --- The walk --- */

/* One register of the caller; false: not known there. */
static bool
restore(struct regs *regs, const struct unwind_saved *saved, unsigned reg, uintptr_t cfa,
        uintptr_t *value)
{
    uintptr_t at;
    const uint8_t *expr = (const uint8_t *)(intptr_t)saved->saved_value;

    switch (saved->saved_how) {
    case UNWIND_SAME:
        return get(regs, reg, value);
    case UNWIND_OFFSET:
        return unwind_read(&regs->win, cfa + (uintptr_t)saved->saved_value, value);
    case UNWIND_VAL_OFFSET:
        *value = cfa + (uintptr_t)saved->saved_value;
        return true;
    case UNWIND_REGISTER:
        return get(regs, (uint64_t)saved->saved_value, value);
    case UNWIND_EXPRESSION:
        return evaluate(expr, regs, &cfa, &at) && unwind_read(&regs->win, at, value);
    case UNWIND_VAL_EXPRESSION:
        return evaluate(expr, regs, &cfa, value);
    default:
        return false;
    }
}

/* The caller's registers, by a row. */
static bool
step_row(struct regs *regs, const struct unwind_row *row)
{
    struct regs next = {.exact = row->row_signal, .win = regs->win};
    uintptr_t cfa;
    uintptr_t value;

    if (row->row_reg[UNWIND_RIP].saved_how == UNWIND_UNDEFINED)
        return false;
    if (row->row_cfa_expr != NULL) {
        if (!evaluate(row->row_cfa_expr, regs, NULL, &cfa))
            return false;
    } else {
        if (!get(regs, row->row_cfa_reg, &cfa))
            return false;
        cfa += (uintptr_t)row->row_cfa_offset;
    }
    for (unsigned reg = 0; reg < UNWIND_REGS; reg++) {
        if (reg == UNWIND_RSP && row->row_reg[reg].saved_how == UNWIND_SAME)
            set(&next, reg, cfa);
        else if (restore(regs, &row->row_reg[reg], reg, cfa, &value))
            set(&next, reg, value);
    }
    bool upward = next.value[UNWIND_RSP] > regs->value[UNWIND_RSP];
    next.win = regs->win;
    *regs = next;
    if ((regs->known >> UNWIND_RIP & 1) == 0 || (regs->known >> UNWIND_RSP & 1) == 0)
        return false;
    /* Down: out of a signal handler, a longjmp() half done, a switch of stacks. */
    return upward || unwind_window_switch(&regs->win, regs->value[UNWIND_RSP]);
}

/* Without tables: the frame pointer, as far as it leads to code. */
static bool
step_chain(struct regs *regs)
{
    struct regs next = {.win = regs->win};
    uintptr_t bp = regs->value[UNWIND_RBP];
    uintptr_t value;
    bool keep;
    bool forgotten;

    if ((regs->known >> UNWIND_RBP & 1) == 0 || bp < regs->value[UNWIND_RSP] ||
        !unwind_read(&next.win, bp, &value))
        return false;
    set(&next, UNWIND_RBP, value);
    if (!unwind_read(&next.win, bp + sizeof(uintptr_t), &value) ||
        unwind_rule_is_bogus(unwind_rule_compute(value - 1, false, &keep, &forgotten)))
        return false;
    set(&next, UNWIND_RIP, value);
    set(&next, UNWIND_RSP, bp + 2 * sizeof(uintptr_t));
    *regs = next;
    return true;
}

static bool
step(struct regs *regs)
{
    struct unwind_object obj;
    struct unwind_row row;
    uintptr_t addr = regs->value[UNWIND_RIP] - !regs->exact;

    if (unwind_object_find(addr, &obj) && unwind_cfi_row(&obj, addr, &row))
        return step_row(regs, &row);
    return step_chain(regs);
}

/* The registers here, those that a call keeps: what the caller's row may ask for. */
static inline __attribute__((always_inline)) void
regs_here(struct regs *regs)
{
    uintptr_t *v = regs->value;

    __asm__ volatile("movq %%rbx, %0" : "=m"(v[UNWIND_RBX]));
    __asm__ volatile("movq %%rbp, %0" : "=m"(v[UNWIND_RBP]));
    __asm__ volatile("movq %%r12, %0" : "=m"(v[UNWIND_R12]));
    __asm__ volatile("movq %%r13, %0" : "=m"(v[UNWIND_R13]));
    __asm__ volatile("movq %%r14, %0" : "=m"(v[UNWIND_R14]));
    __asm__ volatile("movq %%r15, %0" : "=m"(v[UNWIND_R15]));
    __asm__ volatile("movq %%rsp, %0" : "=m"(v[UNWIND_RSP]));
    __asm__ volatile("leaq 0(%%rip), %%rax; movq %%rax, %0" : "=m"(v[UNWIND_RIP]) : : "rax");
    regs->known = 1u << UNWIND_RBX | 1u << UNWIND_RBP | 1u << UNWIND_R12 | 1u << UNWIND_R13 |
                  1u << UNWIND_R14 | 1u << UNWIND_R15 | 1u << UNWIND_RSP | 1u << UNWIND_RIP;
    regs->exact = true;
}

UMEM_NOINLINE uint32_t
unwind_full(uintptr_t *frames, uint32_t max, uint32_t skip, uintptr_t cfa)
{
    struct regs regs;
    uint32_t n = 0;

    memset(&regs, 0, sizeof(regs));
    regs_here(&regs);
    unwind_window_start(&regs.win, regs.value[UNWIND_RSP]);
    /* Up to the caller of os_unwind(): our own frames are few. */
    while (regs.value[UNWIND_RSP] < cfa) {
        if (!step(&regs))
            return 0;
    }
    while (n < max && step(&regs)) {
        uintptr_t pc = regs.value[UNWIND_RIP];
        if (pc == 0)
            break;
        if (skip == 0)
            frames[n++] = pc;
        else
            skip--;
    }
    return n;
}

#endif
