/* SPDX-License-Identifier: MIT */
/*
 * unwind.c - stacks of the target's threads, by libdwfl; runs in the helper
 * child only.
 *
 * libdwfl gets registers and memory from our own tables through its thread
 * callbacks, so that it neither parses the core's notes again nor has to be
 * the tracer of a live process.
 */
#include "target/target_impl.h"

#include <elfutils/libdwfl.h>
#include <string.h>

struct frames {
    struct stack_frame *fr_frames;
    size_t fr_count;
    size_t fr_max;
};

static const struct thread *
thread_of(struct target *t, pid_t tid)
{
    for (size_t i = 0; i < t->t_thread_count; i++)
        if (t->t_threads[i].thr_tid == tid)
            return &t->t_threads[i];
    return NULL;
}

static pid_t
next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
    struct target *t = arg;
    const struct thread *thr = *thread_arg;
    thr = thr == NULL ? t->t_threads : thr + 1;
    if (thr >= t->t_threads + t->t_thread_count)
        return 0;
    *thread_arg = (void *)(uintptr_t)thr;
    return thr->thr_tid;
}

static bool
get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
    *thread_arg = (void *)(uintptr_t)thread_of(arg, tid);
    return *thread_arg != NULL;
}

static bool
memory_read(Dwfl *dwfl, Dwarf_Addr addr, Dwarf_Word *result, void *arg)
{
    unsigned char word[sizeof(uint64_t)];
    if (!target_read_exact(arg, addr, word, target_word(arg)))
        return false;
    *result = target_word_at(arg, word);
    return true;
}

/* The session's target, for the one callback that is not handed it. */
static struct target *unwind_target;

static bool
set_initial_registers(Dwfl_Thread *thread, void *thread_arg)
{
    const struct thread *thr = thread_arg;
    const struct machine *mach = unwind_target->t_machine;
    Dwarf_Word regs[sizeof(mach->mach_dwarf)];
    if (thr->thr_nregs < mach->mach_nregs)
        return false;
    for (unsigned i = 0; i < mach->mach_dwarf_count; i++)
        regs[i] = thr->thr_regs[mach->mach_dwarf[i]];
    if (!mach->mach_dwarf_has_pc)
        dwfl_thread_state_register_pc(thread, thr->thr_pc);
    return dwfl_thread_state_registers(thread, 0, mach->mach_dwarf_count, regs);
}

static addr_t
stack_pointer(Dwfl_Frame *state)
{
    Dwarf_Word sp = 0;
#ifdef HAVE_DWFL_FRAME_REG /* elfutils 0.188 */
    if (dwfl_frame_reg(state, unwind_target->t_machine->mach_dwarf_sp, &sp) != 0)
        sp = 0;
#endif
    return sp;
}

static int
add_frame(Dwfl_Frame *state, void *arg)
{
    struct frames *fr = arg;
    Dwarf_Addr pc;
    bool exact;
    if (!dwfl_frame_pc(state, &pc, &exact) || fr->fr_count == fr->fr_max)
        return DWARF_CB_ABORT;
    /* As if it were a return address: see target_unwind. */
    if (exact && fr->fr_count > 0)
        pc++;
    fr->fr_frames[fr->fr_count++] = (struct stack_frame){pc, stack_pointer(state)};
    return DWARF_CB_OK;
}

size_t
unwind_here(struct Dwfl *dwfl, struct target *t, size_t thread, struct stack_frame *frames,
            size_t max)
{
    static const Dwfl_Thread_Callbacks callbacks = {
        .next_thread = next_thread,
        .get_thread = get_thread,
        .memory_read = memory_read,
        .set_initial_registers = set_initial_registers,
    };
    struct frames fr = {frames, 0, max};
    if (thread >= t->t_thread_count)
        return 0;
    if (unwind_target == NULL) {
        if (!dwfl_attach_state(dwfl, t->t_elf, t->t_pid, &callbacks, t))
            return 0;
        unwind_target = t;
    }
    dwfl_getthread_frames(dwfl, t->t_threads[thread].thr_tid, add_frame, &fr);
    return fr.fr_count;
}
