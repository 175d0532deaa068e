/* SPDX-License-Identifier: MIT */
/*
 * cmd_threads.c - dcmds about threads: $c, $C, $r, ::findstack, ::stacks,
 * ::thread, ::context, and the walker over threads.
 *
 * A thread's address is its number, as audit records have it.
 */
#include "shell/shell.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Frames of a stack that are looked at: deeper than any but a runaway recursion. */
#define FRAMES_MAX 512

/* The thread that a call is about: the one of its address, or the one that was chosen. */
static const struct thread *
thread_of(struct shell *sh, const struct call *call)
{
    const struct thread *threads;
    size_t n = target_threads(sh->sh_target, &threads);
    const struct thread *thr = NULL;

    if (call_has_address(call)) {
        thr = shell_thread(sh, call->call_addr);
        if (thr == NULL)
            return NULL;
    } else if (sh->sh_thread < n) {
        thr = &threads[sh->sh_thread];
    }
    if (thr == NULL)
        shell_complain(sh, "%s: the target has no threads", call->call_dcmd->dcmd_name);
    else if (!thr->thr_stopped)
        shell_complain(sh, "%s: the registers of thread 0t%d are not known",
                       call->call_dcmd->dcmd_name, (int)thr->thr_tid);
    return thr != NULL && thr->thr_stopped ? thr : NULL;
}

/* --- Stacks --- */

enum frame_style { FRAME_PLAIN, FRAME_WITH_SP, FRAME_OF_FINDSTACK };

static void
print_frames(struct shell *sh, const struct thread *thr, enum frame_style style)
{
    struct stack_frame frames[FRAMES_MAX];
    char name[SHELL_NAME_MAX];
    size_t n = target_unwind_frames(sh->sh_target, thr, frames, FRAMES_MAX);

    for (size_t i = 0; i < n; i++) {
        shell_name(sh, frames[i].frame_pc, i > 0, name);
        if (style == FRAME_PLAIN)
            printf("%s()\n", name);
        else if (style == FRAME_WITH_SP)
            printf("%016" PRIx64 " %s()\n", frames[i].frame_sp, name);
        else if (i == 0)
            printf("[ %016" PRIx64 " %s() ]\n", frames[i].frame_sp, name);
        else
            printf("  %016" PRIx64 " %s()\n", frames[i].frame_sp, name);
    }
}

static bool
print_stack(struct shell *sh, const struct call *call, enum frame_style style)
{
    const struct thread *thr;

    if (!dcmd_plain(sh, call) || (thr = thread_of(sh, call)) == NULL)
        return false;
    print_frames(sh, thr, style);
    return true;
}

static bool
dcmd_stack(struct shell *sh, const struct call *call)
{
    return print_stack(sh, call, FRAME_PLAIN);
}

static bool
dcmd_stack_sp(struct shell *sh, const struct call *call)
{
    return print_stack(sh, call, FRAME_WITH_SP);
}

static bool
dcmd_findstack(struct shell *sh, const struct call *call)
{
    bool verbose = false;
    const struct dcmd_option options[] = {{'v', DCMD_FLAG, &verbose, NULL}, {0}};
    const struct thread *thr;

    if (!dcmd_options(sh, call, options, 0, NULL) || (thr = thread_of(sh, call)) == NULL)
        return false;
    printf("stack pointer for thread %d: %" PRIx64 "\n", (int)thr->thr_tid, thr->thr_sp);
    if (verbose)
        printf("program counter: %" PRIx64 ", thread pointer: %" PRIx64 "\n", thr->thr_pc,
               thr->thr_fs_base);
    print_frames(sh, thr, FRAME_OF_FINDSTACK);
    return true;
}

static bool
dcmd_registers(struct shell *sh, const struct call *call)
{
    const struct thread *thr;
    const char *name;
    char symbol[SHELL_NAME_MAX];

    if (!dcmd_plain(sh, call) || (thr = thread_of(sh, call)) == NULL)
        return false;
    for (size_t i = 0; (name = target_register_name(sh->sh_target, i)) != NULL; i++) {
        uint64_t value = i < thr->thr_nregs ? thr->thr_regs[i] : 0;
        printf("%%%-8s = 0x%016" PRIx64, name, value);
        if (value == thr->thr_pc && value != 0)
            printf(" %s", shell_name(sh, value, false, symbol));
        putchar('\n');
    }
    return true;
}

/* --- ::stacks --- */

struct group {
    addr_t frames[FRAMES_MAX];
    size_t depth;
    addr_t *tids;
    size_t count;
    size_t room;
};

struct stacks_options {
    bool alone, verbose;
    const char *function, *without, *module, *without_module;
};

static bool
stack_mentions(struct shell *sh, const struct group *g, const char *function, const char *module)
{
    for (size_t i = 0; i < g->depth; i++) {
        const struct symbol *sym = symboliser_symbol(sh->sh_symbols, g->frames[i], i > 0);
        if (sym != NULL && (function == NULL || strcmp(sym->sym_function, function) == 0) &&
            (module == NULL || strcmp(sym->sym_module, module) == 0))
            return true;
    }
    return false;
}

static bool
is_wanted(struct shell *sh, const struct group *g, const struct stacks_options *o)
{
    return (o->function == NULL || stack_mentions(sh, g, o->function, NULL)) &&
           (o->without == NULL || !stack_mentions(sh, g, o->without, NULL)) &&
           (o->module == NULL || stack_mentions(sh, g, NULL, o->module)) &&
           (o->without_module == NULL || !stack_mentions(sh, g, NULL, o->without_module));
}

static int
larger_first(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a;
    const struct group *y = *(struct group *const *)b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return (x->tids[0] > y->tids[0]) - (x->tids[0] < y->tids[0]);
}

static bool
tell_group(struct shell *sh, const struct call *call, const struct group *g,
           const struct stacks_options *o)
{
    char name[SHELL_NAME_MAX];

    for (size_t i = 0; call_feeds(call) && i < g->count; i++)
        if (!shell_say_address(sh, g->tids[i]))
            return false;
    if (call_feeds(call))
        return true;
    printf("%-16" PRIu64 " %-8s %-8s %8zu\n", g->tids[0], "STOPPED", "<NONE>", g->count);
    for (size_t i = 1; o->verbose && i < g->count; i++)
        printf("%" PRIu64 "\n", g->tids[i]);
    for (size_t i = 0; i < g->depth; i++)
        printf("%*s%s\n", SHELL_STACK_COLUMN, "", shell_name(sh, g->frames[i], i > 0, name));
    putchar('\n');
    return true;
}

/* The group of a thread: one that there is, or a new one at the end of the list. */
static bool
add_thread(struct shell *sh, const struct thread *thr, bool alone, struct group **groups,
           size_t *count)
{
    struct group *g = groups[*count];
    if (g == NULL)
        g = groups[*count] = calloc(1, sizeof(*g));
    if (g == NULL)
        return shell_error(sh, "no memory");
    g->depth = target_unwind(sh->sh_target, thr, g->frames, FRAMES_MAX);
    struct group *home = g;
    for (size_t i = 0; !alone && i < *count; i++)
        if (groups[i]->depth == g->depth &&
            memcmp(groups[i]->frames, g->frames, g->depth * sizeof(g->frames[0])) == 0)
            home = groups[i];
    if (home == g)
        ++*count;
    addr_t *tids = realloc(home->tids, (home->count + 1) * sizeof(*tids));
    if (tids == NULL)
        return shell_error(sh, "no memory");
    home->tids = tids;
    home->tids[home->count++] = (addr_t)thr->thr_tid;
    return true;
}

static bool
tell_groups(struct shell *sh, const struct call *call, struct group **groups, size_t count,
            const struct stacks_options *o)
{
    bool ok = true;

    qsort(groups, count, sizeof(struct group *), larger_first);
    if (call_is_first(call) && !call_feeds(call))
        printf("%-16s %-8s %-8s %8s\n", "THREAD", "STATE", "SOBJ", "COUNT");
    for (size_t i = 0; ok && i < count; i++)
        if (is_wanted(sh, groups[i], o))
            ok = tell_group(sh, call, groups[i], o);
    return ok;
}

static bool
dcmd_stacks(struct shell *sh, const struct call *call)
{
    struct stacks_options o = {0};
    const struct dcmd_option options[] = {{'a', DCMD_FLAG, &o.alone, NULL},
                                          {'v', DCMD_FLAG, &o.verbose, NULL},
                                          {'c', DCMD_TEXT, &o.function, NULL},
                                          {'C', DCMD_TEXT, &o.without, NULL},
                                          {'m', DCMD_TEXT, &o.module, NULL},
                                          {'M', DCMD_TEXT, &o.without_module, NULL},
                                          {0}};
    const struct thread *threads;
    size_t n = target_threads(sh->sh_target, &threads);
    size_t count = 0;

    if (!dcmd_options(sh, call, options, 0, NULL))
        return false;
    if (call_has_address(call)) { /* one thread */
        threads = shell_thread(sh, call->call_addr);
        if (threads == NULL)
            return false;
        n = 1;
    }
    struct group **groups = calloc(n + 1, sizeof(struct group *));
    bool ok = groups != NULL || shell_error(sh, "no memory");
    for (size_t i = 0; ok && i < n; i++)
        ok = (!shell_interrupted || shell_error(sh, "interrupted")) &&
             (!threads[i].thr_stopped || add_thread(sh, &threads[i], o.alone, groups, &count));
    if (ok)
        ok = tell_groups(sh, call, groups, count, &o);
    for (size_t i = 0; groups != NULL && i <= n; i++) {
        if (groups[i] != NULL)
            free(groups[i]->tids);
        free(groups[i]);
    }
    free(groups);
    return ok;
}

/* --- ::thread, ::context --- */

static bool
tell_thread(struct shell *sh, const struct call *call, const struct thread *thr)
{
    char name[SHELL_NAME_MAX];

    if (call_feeds(call))
        return shell_say_address(sh, (addr_t)thr->thr_tid);
    if (thr->thr_stopped)
        printf("%-10d %-8s %016" PRIx64 " %016" PRIx64 " %s\n", (int)thr->thr_tid, "STOPPED",
               thr->thr_sp, thr->thr_pc, shell_name(sh, thr->thr_pc, false, name));
    else
        printf("%-10d %-8s %16s %16s\n", (int)thr->thr_tid, "UNKNOWN", "-", "-");
    return true;
}

static bool
dcmd_thread(struct shell *sh, const struct call *call)
{
    const struct thread *threads;
    size_t n = target_threads(sh->sh_target, &threads);

    if (!dcmd_plain(sh, call))
        return false;
    if (call_has_address(call)) {
        threads = shell_thread(sh, call->call_addr);
        if (threads == NULL)
            return false;
        n = 1;
    }
    if (call_is_first(call) && !call_feeds(call))
        printf("%-10s %-8s %-16s %-16s %s\n", "THREAD", "STATE", "SP", "PC", "FUNCTION");
    for (size_t i = 0; i < n; i++)
        if (!tell_thread(sh, call, &threads[i]))
            return false;
    return true;
}

static bool
dcmd_context(struct shell *sh, const struct call *call)
{
    const struct thread *threads;
    const struct thread *thr;

    if (!dcmd_plain(sh, call) || (thr = thread_of(sh, call)) == NULL)
        return false;
    target_threads(sh->sh_target, &threads);
    sh->sh_thread = (size_t)(thr - threads);
    return true;
}

static bool
walk_thread(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    const struct thread *threads;
    size_t n = target_threads(sh->sh_target, &threads);
    (void)walk;
    for (size_t i = 0; i < n; i++)
        if (!addresses_add(out, (addr_t)threads[i].thr_tid))
            return shell_error(sh, "no memory");
    return true;
}

#define HELP_THREAD                                                                                \
    "  An address before it is a thread's number, 0t4711 where it is decimal; without one it is\n" \
    "  the thread that ::context chose, at first the one that a core's signal came to.\n"

const struct dcmd dcmds_threads[] = {
    {"$c", "", "print the stack of a thread", HELP_THREAD, "$c", dcmd_stack, 0},
    {"$C", "", "print the stack of a thread with stack pointers", HELP_THREAD, "$C", dcmd_stack_sp,
     0},
    {"$r", "", "print the registers of a thread",
     HELP_THREAD "  <rip and so on are their values in expressions.\n", "$r", dcmd_registers, 0},
    {"findstack", "[-v]", "print the stack of a thread, with stack pointers",
     HELP_THREAD "    -v   also the program counter and the thread pointer\n",
     "::walk thread | ::findstack -v", dcmd_findstack, 0},
    {"stacks", "[-av] [-c function] [-C function] [-m module] [-M module]",
     "print threads, those with the same stack together",
     "  COUNT threads have the stack, THREAD is one of them.\n"
     "    -a            each thread alone\n"
     "    -v            also the numbers of the others\n"
     "    -c, -C name   only stacks with this function, without it\n"
     "    -m, -M name   only stacks with a function of this module, without one\n",
     "::stacks\n::stacks -c main | ::findstack", dcmd_stacks, DCMD_FEEDS},
    {"thread", "", "list threads, or the one with a number",
     "  0t4711::thread, since numbers are hexadecimal otherwise.\n", "::thread", dcmd_thread,
     DCMD_FEEDS},
    {"$l", "", "list threads", NULL, "$l", dcmd_thread, DCMD_FEEDS},
    {"context", "", "choose the thread that $c, $r and <rip are about",
     "  0t4711::context, since numbers are hexadecimal otherwise.\n",
     "::walk thread | ::context; <pc=p", dcmd_context, DCMD_ADDRESS},
    {0}};

const struct walker walkers_threads[] = {
    {"thread", "numbers of all threads", WALK_ANYWHERE, false, walk_thread}, {0}};
