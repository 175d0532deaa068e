/* SPDX-License-Identifier: MIT */
/*
 * stop.c - stops the other threads of the process by a signal; see stop.h.
 *
 * The signal is the one that libc keeps for itself, to reach every thread when
 * a process changes its user: no program can handle it, and libc takes it out
 * of every mask and every set to wait for, so that it reaches threads that
 * block all the signals they can.  Its handler is put before libc's once and
 * for good, and passes on what is not ours.  It runs on the thread's alternate
 * stack, if there is one, notes where the thread was, and waits on a futex.
 *
 * A thread that does not come in time (it waits for a disk, say) is given up.
 * The signal may reach it later: the handler then finds no stop that is for it,
 * and returns.  For its sake what it looks at stays mapped.
 *
 * System calls are made directly: functions of libc's may be others', which take
 * locks.
 *
 * State: one stop at a time.  A round is odd while threads are to stand still.
 */
#include "os/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/print.h"
#include "os/lines.h"
#include "os/meta.h"
#include "os/os.h"

/* SIGSETXID of glibc's, the second of those below SIGRTMIN; musl has one of its own there. */
#define STOP_SIGNAL 33
/* Threads that run come within their next turn on a processor; then one has waited for a disk. */
#define STOP_WAIT_MS 1000u
/* Between two looks at whether those that have not come are there still. */
#define LOOK_NS 1000000
#define NS_PER_MS 1000000u
/* Threads that start meanwhile are found by another look, this often. */
#define ROUNDS_MAX 100
#define ROOM_MIN 128
#define ENTRIES_BYTES 4096
#define KERNEL_SIGSET_BYTES 8
#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif

/* The kernel's struct sigaction: libc's function refuses this signal. */
struct kernel_action {
    union {
        void (*act_plain)(int);
        void (*act_info)(int, siginfo_t *, void *);
    };
    unsigned long act_flags;
    void (*act_restorer)(void);
    uint64_t act_mask;
};

/* What getdents64(2) gives. */
struct entry {
    uint64_t ent_inode;
    int64_t ent_offset;
    unsigned short ent_length;
    unsigned char ent_type;
    char ent_name[];
};

static struct os_stopped *_Atomic threads;
static size_t thread_room;
static _Atomic size_t thread_count;
static _Atomic uint32_t round_number, answers;
static struct kernel_action before;

static long
wait_while(_Atomic uint32_t *word, uint32_t value, const struct timespec *limit)
{
    return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, limit, NULL, 0);
}

static uintptr_t
thread_pointer(void)
{
    uintptr_t pointer = 0;
#if defined(__x86_64__)
    __asm__ volatile("movq %%fs:0, %0" : "=r"(pointer));
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, tpidr_el0" : "=r"(pointer));
#endif
    return pointer;
}

/* --- In the threads --- */

static void
pass_on(int number, siginfo_t *info, void *context)
{
    if ((before.act_flags & SA_SIGINFO) != 0)
        before.act_info(number, info, context);
    else if (before.act_plain != SIG_DFL && before.act_plain != SIG_IGN)
        before.act_plain(number);
}

static void
stand_still(struct os_stopped *self, void *context, uint32_t round)
{
    self->stop_context = context;
    self->stop_pointer = thread_pointer();
    atomic_store_explicit(&self->stop_answered, true, memory_order_release);
    atomic_fetch_add(&answers, 1);
    (void)syscall(SYS_futex, &answers, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    while (atomic_load(&round_number) == round)
        (void)wait_while(&round_number, round, NULL);
}

static void
on_signal(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    if (info->si_code != SI_QUEUE) { /* libc's are of another kind */
        pass_on(number, info, context);
        return;
    }
    uint32_t round = atomic_load(&round_number);
    size_t index = (size_t)(uintptr_t)info->si_value.sival_ptr;
    if ((round & 1) != 0 && index < atomic_load(&thread_count)) {
        struct os_stopped *self = atomic_load(&threads) + index;
        if (self->stop_tid == (uint32_t)syscall(SYS_gettid) &&
            !atomic_load_explicit(&self->stop_answered, memory_order_relaxed))
            stand_still(self, context, round);
    }
    os_stop_restart(context);
    errno = saved;
}

#if defined(__x86_64__)
/* Where the handler returns to, spelt as unwinders know it; other processors need none. */
void umem_stop_return(void) __attribute__((visibility("hidden")));
__asm__(".pushsection .text\n"
        "nop\n"
        ".globl umem_stop_return\n"
        ".hidden umem_stop_return\n"
        ".type umem_stop_return, @function\n"
        "umem_stop_return:\n"
        "mov $15, %rax\n" /* rt_sigreturn */
        "syscall\n"
        ".size umem_stop_return, . - umem_stop_return\n"
        ".popsection\n");
#endif

/* Puts the handler before whichever is there. */
static int
install(void)
{
    struct kernel_action now, ours;

    memset(&ours, 0, sizeof(ours));
    ours.act_info = on_signal;
    ours.act_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    ours.act_mask = ~(uint64_t)0;
#if defined(__x86_64__)
    ours.act_flags |= SA_RESTORER;
    ours.act_restorer = umem_stop_return;
#endif
    if (syscall(SYS_rt_sigaction, STOP_SIGNAL, NULL, &now, KERNEL_SIGSET_BYTES) != 0)
        return -1;
    if (now.act_info == on_signal)
        return 0;
    before = now;
    return (int)syscall(SYS_rt_sigaction, STOP_SIGNAL, &ours, NULL, KERNEL_SIGSET_BYTES);
}

/* --- Who is there --- */

/*
 * Room for so many, before they are stopped: it comes from where others get
 * theirs.  What there was stays, since a thread may look at it yet.
 */
static int
make_room(size_t room)
{
    if (room <= thread_room)
        return 0;
    struct os_stopped *fresh = umem_meta_alloc(room * sizeof(*fresh));
    if (fresh == NULL)
        return -1;
    atomic_store(&threads, fresh);
    thread_room = room;
    return 0;
}

static uint32_t
parse_tid(const char *name)
{
    uint32_t tid = 0;

    for (; *name >= '0' && *name <= '9'; name++)
        tid = tid * 10 + (uint32_t)(*name - '0');
    return *name == '\0' ? tid : 0;
}

/* Whether it is among the first count; the directory keeps its order: mostly it is at place. */
static bool
is_known(uint32_t tid, size_t count, size_t place)
{
    const struct os_stopped *all = atomic_load(&threads);

    if (place < count && all[place].stop_tid == tid)
        return true;
    for (size_t i = 0; i < count; i++)
        if (all[i].stop_tid == tid)
            return true;
    return false;
}

/* Those that are not known yet, as far as there is room.  How many there are in all; 0: no /proc.
 */
static size_t
find_threads(int directory)
{
    char entries[ENTRIES_BYTES] __attribute__((aligned(8)));
    size_t known = atomic_load(&thread_count), count = known, seen = 0;
    long n;

    if (syscall(SYS_lseek, directory, 0, SEEK_SET) != 0)
        return 0;
    while ((n = syscall(SYS_getdents64, directory, entries, sizeof(entries))) > 0) {
        for (const char *at = entries; at < entries + n;) {
            const struct entry *ent = (const struct entry *)(const void *)at;
            at += ent->ent_length;
            uint32_t tid = parse_tid(ent->ent_name);
            if (tid == 0 || is_known(tid, known, seen++))
                continue;
            if (count < thread_room) {
                struct os_stopped *one = atomic_load(&threads) + count;
                *one = (struct os_stopped){.stop_tid = tid};
            }
            count++;
        }
    }
    return count;
}

/* Whether the thread has ended, if only to be waited for. */
static bool
has_ended(uint32_t tid)
{
    struct os_lines lines;
    char path[64];
    bool ended = true;

    (void)umem_snprintf(path, sizeof(path), "/proc/self/task/%u/stat", tid);
    if (!os_lines_open(&lines, path))
        return true;
    const char *line = os_lines_next(&lines);
    const char *state = line != NULL ? strrchr(line, ')') : NULL;
    if (state != NULL && state[1] == ' ')
        ended = state[2] == 'Z' || state[2] == 'X';
    os_lines_close(&lines);
    return ended;
}

/* --- Stopping --- */

static void
call(size_t index)
{
    struct os_stopped *thread = atomic_load(&threads) + index;
    siginfo_t info;

    memset(&info, 0, sizeof(info));
    info.si_signo = STOP_SIGNAL;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = (void *)(uintptr_t)index;
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), thread->stop_tid, STOP_SIGNAL, &info) != 0 &&
        errno == ESRCH)
        thread->stop_tid = 0;
}

/* Waits until all that there are have come, or the time is over. */
static void
await(uint64_t deadline_ms)
{
    const struct timespec look = {.tv_nsec = LOOK_NS};
    struct os_stopped *all = atomic_load(&threads);
    size_t count = atomic_load(&thread_count);

    for (;;) {
        uint32_t came = atomic_load(&answers);
        size_t missing = 0;
        for (size_t i = 0; i < count; i++)
            missing += all[i].stop_tid != 0 &&
                       !atomic_load_explicit(&all[i].stop_answered, memory_order_acquire);
        if (missing == 0 || os_clock_ns() / NS_PER_MS > deadline_ms)
            return;
        if (wait_while(&answers, came, &look) == 0 || errno != ETIMEDOUT)
            continue;
        for (size_t i = 0; i < count; i++)
            if (!atomic_load_explicit(&all[i].stop_answered, memory_order_acquire) &&
                all[i].stop_tid != 0 && has_ended(all[i].stop_tid))
                all[i].stop_tid = 0;
    }
}

/* Those from the first on: called, and waited for. */
static void
stop_from(size_t first, uint64_t deadline_ms)
{
    struct os_stopped *all = atomic_load(&threads);
    uint32_t self = (uint32_t)syscall(SYS_gettid);

    for (size_t i = first; i < atomic_load(&thread_count); i++) {
        if (all[i].stop_tid == self) {
            all[i].stop_pointer = thread_pointer();
            atomic_store(&all[i].stop_answered, true);
        } else {
            call(i);
        }
    }
    await(deadline_ms);
}

/* 0, or the number of threads that there must be room for; -1: /proc cannot be read. */
static ptrdiff_t
stop_all(int directory)
{
    uint64_t deadline_ms = os_clock_ns() / NS_PER_MS + STOP_WAIT_MS;

    for (unsigned i = 0; i < ROUNDS_MAX; i++) {
        size_t first = atomic_load(&thread_count), found = find_threads(directory);
        if (found == 0)
            return -1;
        if (found > thread_room)
            return (ptrdiff_t)found;
        if (found == first)
            return 0;
        atomic_store(&thread_count, found);
        stop_from(first, deadline_ms);
    }
    return 0;
}

/* As stop_all(); where it does not return 0 they go on. */
static ptrdiff_t
try_to_stop(int directory)
{
    atomic_store(&thread_count, 0);
    atomic_fetch_add(&round_number, 1);
    ptrdiff_t found = stop_all(directory);
    if (found != 0)
        os_stop_end();
    return found;
}

const struct os_stopped *
os_stop_begin(size_t *count)
{
    ptrdiff_t found = ROOM_MIN;
    int directory =
        (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory < 0)
        return NULL;
    if (install() != 0)
        found = -1;
    while (found > 0)
        found = make_room(2 * (size_t)found) == 0 ? try_to_stop(directory) : -1;
    int error = errno;
    (void)syscall(SYS_close, directory);
    errno = error;
    if (found < 0)
        return NULL;
    *count = atomic_load(&thread_count);
    return atomic_load(&threads);
}

void
os_stop_end(void)
{
    atomic_fetch_add(&round_number, 1);
    (void)syscall(SYS_futex, &round_number, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}
