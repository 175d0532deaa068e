/* SPDX-License-Identifier: MIT */
/*
 * unwind_stack.c - which stack memory the unwinder may read.
 *
 * A walk reads only at or above its stack pointer, but how far up a stack goes
 * nobody tells cheaply: pthread_getattr_np() allocates and reads
 * /proc/self/maps, and a fiber or an alternate signal stack is known to
 * nobody but the program.  So the bounds are found by looking:
 *
 *   A thread's own stack ends at an anchor that never moves while it lives:
 *   for the main thread the kernel's AT_RANDOM bytes above argv, for others
 *   our own thread-local variable, since libc puts a thread's static TLS on
 *   top of its stack.  Once every page from some stack pointer up to the
 *   anchor has been seen to be readable, that range is the thread's own stack
 *   for good (own_lo, own_top): no walk in it costs a system call again.  A
 *   deeper stack pointer extends it by the pages between, one probe for each
 *   page of stack that is ever used.
 *
 *   Any other stack (alternate, fiber, or separated from the anchor by a gap)
 *   can be unmapped behind our back, so nothing about it outlives a walk.  The
 *   page that we run on is readable; any further page is probed when a walk
 *   first reads there: one cheap system call a page, mostly none.
 *
 * A probe asks the kernel to read a word for us in a call that then fails for
 * another reason: rt_sigprocmask() with an invalid "how" copies the set first,
 * so EFAULT means unreadable (a hole, PROT_NONE or a guard region) and EINVAL
 * readable.  Emulators that check in another order are found out by asking for
 * the kernel's own memory first; then process_vm_readv() does it, and if that
 * is forbidden too nothing is readable but the proven stack.
 *
 * State: three words a thread, written by it alone and by its signal handlers.
 * No lock.
 */
#include <errno.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/os.h"
#include "os/unwind_impl.h"

UMEM_TLS struct unwind_stack unwind_stack;

/*
 * No further below the proven part is a stack pointer taken for the same
 * stack: 8 MiB, the default stack size, 2,048 probes of 70 ns at worst, once.
 */
#define OWN_REACH ((uintptr_t)8 << 20)
/* own_top where no anchor is known: nothing is ever below it. */
#define OWN_TOP_NONE ((uintptr_t)1)
/* The size of the kernel's signal set: _NSIG / 8, not libc's sigset_t. */
#define KERNEL_SIGSET_SIZE 8

enum probe_method {
    PROBE_UNKNOWN = 0,
    PROBE_SIGPROCMASK,
    PROBE_VM_READV,
    PROBE_NOTHING /* nothing works here */
};

static bool
probe_sigprocmask(uintptr_t addr)
{
    return syscall(SYS_rt_sigprocmask, ~0, addr, NULL, KERNEL_SIGSET_SIZE) == 0 || errno != EFAULT;
}

static bool
probe_vm_readv(uintptr_t addr)
{
    uintptr_t word;
    struct iovec to = {&word, sizeof(word)};
    struct iovec from = {(void *)addr, sizeof(word)};

    return syscall(SYS_process_vm_readv, (long)os_process_id(), &to, 1, &from, 1, 0) ==
           (long)sizeof(word);
}

static enum probe_method
probe_method_find(void)
{
    uintptr_t good = 0;
    uintptr_t kernel = (uintptr_t)0 - os_page_size();

    if (probe_sigprocmask((uintptr_t)&good) && !probe_sigprocmask(kernel))
        return PROBE_SIGPROCMASK;
    if (probe_vm_readv((uintptr_t)&good) && !probe_vm_readv(kernel))
        return PROBE_VM_READV;
    return PROBE_NOTHING;
}

bool
unwind_probe(uintptr_t addr)
{
    static _Atomic int probe_method;
    int saved = errno;
    bool readable;

    int method = atomic_load_explicit(&probe_method, memory_order_relaxed);
    if (UMEM_UNLIKELY(method == PROBE_UNKNOWN)) {
        method = (int)probe_method_find();
        atomic_store_explicit(&probe_method, method, memory_order_relaxed);
    }
    if (method == PROBE_SIGPROCMASK)
        readable = addr != 0 && probe_sigprocmask(addr);
    else
        readable = method == PROBE_VM_READV && probe_vm_readv(addr);
    errno = saved;
    return readable;
}

static uintptr_t
own_top_find(void)
{
    uintptr_t top = (uintptr_t)&unwind_stack;

    if (os_thread_id() == os_process_id())
        top = (uintptr_t)getauxval(AT_RANDOM);
    return top == 0 ? OWN_TOP_NONE : umem_align_down(top, sizeof(uintptr_t));
}

/* Whether sp lies on the thread's own stack, which is then proven down to sp's page. */
static bool
own_extend(uintptr_t sp)
{
    struct unwind_stack *own = &unwind_stack;
    size_t page_size = os_page_size();
    uintptr_t page = umem_align_down(sp, page_size);

    if (own->own_top == 0)
        own->own_top = own_top_find();
    uintptr_t lo = own->own_lo;
    uintptr_t bottom = lo != 0 ? lo : umem_align_down(own->own_top, page_size);
    if (sp >= own->own_top || (page < bottom && bottom - page > OWN_REACH) ||
        (page < own->own_gap && own->own_gap < bottom))
        return false;

    for (uintptr_t p = page + page_size; p < bottom; p += page_size) {
        if (!unwind_probe(p)) {
            own->own_gap = p;
            return false;
        }
    }
    own->own_lo = page < bottom ? page : bottom;
    return true;
}

/* The whole proven part. */
static void
window_own(struct unwind_window *win)
{
    win->win_lo = unwind_stack.own_lo;
    win->win_size = unwind_stack.own_top - win->win_lo;
}

void
unwind_window_find(struct unwind_window *win, uintptr_t sp)
{
    uintptr_t end = umem_align_down(sp, os_page_size()) + os_page_size();

    if (own_extend(sp))
        end = unwind_stack.own_top;
    win->win_lo = sp;
    win->win_size = end - sp;
}

bool
unwind_window_reach(struct unwind_window *win, uintptr_t addr)
{
    size_t page_size = os_page_size();
    uintptr_t page = umem_align_down(addr, page_size);

    if ((addr & (sizeof(uintptr_t) - 1)) != 0)
        return false;
    if (unwind_own_start(addr) != 0) {
        window_own(win);
        return true;
    }
    if (!unwind_probe(addr))
        return false;
    if (page == win->win_lo + win->win_size) {
        win->win_size += page_size;
    } else {
        win->win_lo = page;
        win->win_size = page_size;
    }
    return true;
}

bool
unwind_window_switch(struct unwind_window *win, uintptr_t sp)
{
    if (unwind_in_window(win, sp))
        return true;
    /*
     * Probed even on the own stack: a runtime may have closed its lowest pages
     * since (a yellow zone), and that may be what the signal is about.
     */
    if ((sp & (sizeof(uintptr_t) - 1)) != 0 || !unwind_probe(sp))
        return false;
    if (unwind_own_start(sp) != 0 || own_extend(sp)) {
        window_own(win);
        return true;
    }
    win->win_lo = umem_align_down(sp, os_page_size());
    win->win_size = os_page_size();
    return true;
}
