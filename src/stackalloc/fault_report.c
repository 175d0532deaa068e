/* SPDX-License-Identifier: MIT */
/*
 * fault_report.c - what is said of an access to a stack's guard.
 *
 * Runs in a handler of SIGSEGV, on a small stack, in a thread that may have
 * been anywhere: no lock, no memory, no stdio, one write().  No state.
 */
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "stack.h"
#include "symbol.h"

/* Five lines with two symbols; what is longer is cut. */
#define TEXT_MAX 1024

struct text {
    char text_bytes[TEXT_MAX];
    size_t text_length;
};

static void
put(struct text *text, const char *string)
{
    size_t n = strnlen(string, TEXT_MAX - text->text_length);
    memcpy(text->text_bytes + text->text_length, string, n);
    text->text_length += n;
}

static void
put_number(struct text *text, uintptr_t value, unsigned base)
{
    char digits[sizeof(value) * 3 + 1]; /* a byte has at most three */
    char *at = digits + sizeof(digits) - 1;
    *at = 0;
    do {
        *--at = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    if (base == 16)
        put(text, "0x");
    put(text, at);
}

static void
put_bytes(struct text *text, size_t bytes)
{
    put_number(text, bytes, 10);
    put(text, bytes == 1 ? " byte" : " bytes");
}

static void
put_symbol(struct text *text, uintptr_t address, bool with_offset)
{
    struct symbol symbol;
    if (!symbol_find(address, &symbol)) {
        put_number(text, address, 16);
        return;
    }
    put(text, symbol.symbol_module);
    if (symbol.symbol_name[0] != 0) {
        put(text, "`");
        put(text, symbol.symbol_name);
    }
    if (with_offset || symbol.symbol_name[0] == 0) {
        put(text, "+");
        put_number(text, symbol.symbol_offset, 16);
    }
}

/*
 * Whether the thread ran on the stack whose guard it touched.  A wide frame
 * can have taken the stack pointer past the guard; then it is known only of a
 * stack whose thread is noted.
 */
static bool
ran_on(const struct stack_fault *fault)
{
    const struct stack_info *info = fault->fault_stack;
    uintptr_t low = (uintptr_t)info->info_base - info->info_guard_low;
    return fault->fault_sp == 0 || info->info_thread == fault->fault_thread ||
           fault->fault_sp - low <= info->info_guard_low + info->info_size + info->info_guard_high;
}

static void
put_headline(struct text *text, const struct stack_fault *fault)
{
    const struct stack_info *info = fault->fault_stack;
    bool low = info->info_place == STACK_IN_LOW_GUARD;
    put(text, "stackalloc: ");
    put(text, !ran_on(fault) ? "stray access" : low ? "stack overflow" : "stack underflow");
    put(text, ": ");
    put_bytes(text, info->info_beyond);
    put(text, low ? " below" : " above");
    put(text, " the stack at ");
    put_number(text, (uintptr_t)info->info_base, 16);
    put(text, " of ");
    put_bytes(text, info->info_size);
    if (info->info_name[0] != 0) {
        put(text, ", \"");
        put(text, info->info_name);
        put(text, "\"");
    }
    put(text, info->info_state == STACK_IS_USED ? "\n" : ", which was freed\n");
}

static void
put_thread(struct text *text, const struct stack_fault *fault)
{
    put(text, "thread ");
    put_number(text, (uintptr_t)fault->fault_thread, 10);
    put(text, " (");
    put(text, fault->fault_thread_name);
    put(text, ")");
    if (fault->fault_start != 0) {
        put(text, ", started in ");
        put_symbol(text, fault->fault_start, false);
    }
    if (fault->fault_pc != 0) {
        put(text, ", was in ");
        put_symbol(text, fault->fault_pc, true);
    }
    put(text, "\n");
}

static void
put_advice(struct text *text, const struct stack_fault *fault)
{
    const struct stack_info *info = fault->fault_stack;
    if (!ran_on(fault))
        put(text,
            "its stack pointer was elsewhere: a wild pointer, or a frame wider than the guard\n");
    else if (info->info_place == STACK_IN_HIGH_GUARD)
        put(text, "that is above the first frame: look for an index or pointer gone too far\n");
    else if (stack_size_supported(info->info_size * 2)) {
        put(text, "to raise: the size that stack_alloc() is asked for; the next is ");
        put_bytes(text, info->info_size * 2);
        put(text, "\n");
    } else
        put(text, "no larger size is supported: look for endless recursion or large frames\n");
}

void
stack_fault_report(const struct stack_fault *fault)
{
    struct text text;
    text.text_length = 0;
    put_headline(&text, fault);
    put_thread(&text, fault);
    put(&text, "high water: ");
    put_number(&text, (uintptr_t)(fault->fault_highwater > 0 ? fault->fault_highwater : 0), 10);
    put(&text, " of ");
    put_bytes(&text, fault->fault_stack->info_size);
    put(&text, "\n");
    put_advice(&text, fault);
    /* Nothing can be done where nobody reads. */
    ssize_t written = write(STDERR_FILENO, text.text_bytes, text.text_length);
    (void)written;
}
