/* SPDX-License-Identifier: MIT */
/*
 * per_cpu.c - front end C: magazines of the CPU, by restartable sequences.
 *
 * The kernel sends a thread that it preempts, migrates or signals between the
 * labels 1 and 2 of a sequence to its abort handler, so a sequence that reaches
 * its last store ran on one CPU with nobody in between.  All must therefore hang
 * on one store.  So the window is one word: magazines are 1 KiB, aligned, with two
 * words of header, and the address of the topmost round tells the magazine, how
 * many rounds it has, and whether it is empty (the word before round 0) or full
 * (the last word).
 *
 *   pop    cur has a round: load it, store cur - 1
 *   push   cur has room: store the object behind cur, store cur + 1.  If it is
 *          aborted in between, the object lies where the next push will write.
 *   cas    a word of this CPU is what was expected: store another
 *
 * An exchange of magazines is a cas on cur: only wholly empty (full) ones are
 * exchanged, a thread owns what it took out by cas, and the word says everything
 * about a magazine, so there is no ABA.  The window is never closed and no lock
 * word is needed: a thread that is preempted during an exchange holds up nobody.
 * Where a cas fails, since another thread of the CPU was quicker, the magazine in
 * hand goes to the depot.  The CPU's number is read within each sequence, so
 * it needs no check before the store.
 */
#include "frontends.h"

#ifdef FRONTENDS_SUPPORTED

#include <stdatomic.h>
#include <stdio.h>
#include <sys/rseq.h>
#include <unistd.h>

#define CPUS_MAX 1024
#define CPU_SHIFT "7" /* of sizeof(struct cpu): no two CPUs write adjacent lines */
/*
 * Where in its magazine the topmost round is: zero for the word before round 0,
 * for the first word, and, of cur + 1, past the last.  So the same bits tell that
 * there is no round and, of cur + 1, that there is no room; a cur of 0 is both.
 */
#define ROUND_BITS 0x3f0
#define EMPTY_AT offsetof(struct magazine, mag_rounds)
#define FULL_AT (MAGAZINE_SIZE - sizeof(void *))

struct cpu {
    uintptr_t c_cur;      /* address of the loaded magazine's topmost round; 0: none loaded */
    uintptr_t c_previous; /* the same for the previous one, wholly full or empty */
} __attribute__((aligned(128)));

static struct cpu cpus[CPUS_MAX];
static ptrdiff_t rseq_offset; /* of struct rseq from the thread pointer */
static __thread uint64_t c_aborts;
static _Atomic uint64_t aborts_sum;

/*
 * Opens a sequence: its descriptor, and the store that announces it.  Label 1 is
 * the instruction after that store, so that a thread is inside once it announced.
 */
#define RSEQ_BEGIN                                                                                 \
    ".pushsection __rseq_cs, \"aw\"\n"                                                             \
    ".balign 32\n"                                                                                 \
    "3: .long 0, 0\n"                                                                              \
    ".quad 1f, 2f - 1f, 4f\n"                                                                      \
    ".popsection\n"                                                                                \
    "leaq 3b(%%rip), %%rax\n"                                                                      \
    "movq %%rax, %%fs:8(%[rseq])\n"    /* rseq_cs */                                               \
    "1: movl %%fs:4(%[rseq]), %%eax\n" /* cpu_id */                                                \
    "shlq $" CPU_SHIFT ", %%rax\n"
/* Ends it behind its last store; the abort handler follows the kernel's signature. */
#define RSEQ_END                                                                                   \
    "2:\n"                                                                                         \
    ".pushsection __rseq_failure, \"ax\"\n"                                                        \
    ".byte 0x0f, 0xb9, 0x3d\n" /* makes an ud1 of the signature, for disassemblers */              \
    ".long 0x53053053\n"                                                                           \
    "4: jmp %l[aborted]\n"                                                                         \
    ".popsection\n"

static inline struct rseq *
rseq_self(void)
{
    return (struct rseq *)(void *)((char *)__builtin_thread_pointer() + rseq_offset);
}

/* A word of the CPU that runs this, or ran it a moment ago: to be confirmed by c_cas(). */
static uintptr_t
c_peek(size_t word)
{
    uint32_t cpu = *(volatile uint32_t *)&rseq_self()->cpu_id;
    return *(volatile uintptr_t *)(void *)((char *)&cpus[cpu] + word);
}

static bool
c_cas(size_t word, uintptr_t expected, uintptr_t value)
{
    for (;;) {
        __asm__ volatile goto(RSEQ_BEGIN "cmpq %[expected], (%[word], %%rax)\n"
                                         "jne %l[differs]\n"
                                         "movq %[value], (%[word], %%rax)\n" RSEQ_END
                              :
                              : [rseq] "r"(rseq_offset), [word] "r"((char *)cpus + word),
                                [expected] "r"(expected), [value] "r"(value)
                              : "rax", "memory", "cc"
                              : differs, aborted);
        return true;
    aborted:
        c_aborts++;
    }
differs:
    return false;
}

static struct magazine *
magazine_of(uintptr_t at)
{
    return (struct magazine *)(at & ~(uintptr_t)(MAGAZINE_SIZE - 1));
}

static bool
has_round(uintptr_t at)
{
    return (at & ROUND_BITS) != 0;
}

static bool
has_room(uintptr_t at)
{
    return ((at + sizeof(void *)) & ROUND_BITS) != 0;
}

/* Takes the previous magazine of this CPU out; 0 where there is none. */
static uintptr_t
c_take_previous(void)
{
    const size_t word = offsetof(struct cpu, c_previous);
    for (;;) {
        uintptr_t at = c_peek(word);
        if (at == 0 || c_cas(word, at, 0))
            return at;
    }
}

/* Makes a magazine, wholly full or empty, the previous one; if there is one, it is the depot's. */
static void
c_put_previous(uintptr_t at)
{
    if (at != 0 && !c_cas(offsetof(struct cpu, c_previous), 0, at))
        back_put(magazine_of(at), has_round(at));
}

/* Puts a magazine in hand into the place of a loaded one that is used up. */
static void
c_load(uintptr_t used_up, uintptr_t at)
{
    if (c_cas(offsetof(struct cpu, c_cur), used_up, at))
        c_put_previous(used_up);
    else
        back_put(magazine_of(at), has_round(at));
}

/* False: there is no full magazine.  True: try again. */
static __attribute__((noinline)) bool
c_refill(void)
{
    uintptr_t cur = c_peek(offsetof(struct cpu, c_cur));
    if (has_round(cur))
        return true; /* now: another CPU, or another thread was here */
    uintptr_t at = c_take_previous();
    if (!has_round(at)) {
        struct magazine *full = back_get_full(magazine_of(at));
        if (full == NULL) {
            c_put_previous(at);
            return false;
        }
        at = (uintptr_t)full + FULL_AT;
    }
    c_load(cur, at);
    return true;
}

static __attribute__((noinline)) void
c_make_room(void)
{
    uintptr_t cur = c_peek(offsetof(struct cpu, c_cur));
    if (has_room(cur))
        return;
    uintptr_t at = c_take_previous();
    if (!has_room(at))
        at = (uintptr_t)back_get_empty(magazine_of(at)) + EMPTY_AT;
    c_load(cur, at);
}

static void *c_alloc(void);
static void c_free(void *obj);

/* Retries are calls, so that the fast paths have no registers to save. */
static __attribute__((noinline)) void *
c_alloc_aborted(void)
{
    c_aborts++;
    return c_alloc();
}

static __attribute__((noinline)) void *
c_alloc_slow(void)
{
    return c_refill() ? c_alloc() : back_object();
}

static __attribute__((noinline)) void *
c_alloc(void)
{
    void *obj;
    __asm__ volatile goto(RSEQ_BEGIN "movq (%[cpus], %%rax), %%rcx\n"
                                     "testl %[bits], %%ecx\n"
                                     "jz %l[slow]\n"
                                     "movq (%%rcx), %[obj]\n"
                                     "subq $8, %%rcx\n"
                                     "movq %%rcx, (%[cpus], %%rax)\n" RSEQ_END
                          : [obj] "=&r"(obj)
                          : [rseq] "r"(rseq_offset), [cpus] "r"(cpus), [bits] "i"(ROUND_BITS)
                          : "rax", "rcx", "memory", "cc"
                          : slow, aborted);
    return obj;
aborted:
    return c_alloc_aborted();
slow:
    return c_alloc_slow();
}

static __attribute__((noinline)) void
c_free_aborted(void *obj)
{
    c_aborts++;
    c_free(obj);
}

static __attribute__((noinline)) void
c_free_slow(void *obj)
{
    c_make_room();
    c_free(obj);
}

static __attribute__((noinline)) void
c_free(void *obj)
{
    __asm__ volatile goto(
        RSEQ_BEGIN "movq (%[cpus], %%rax), %%rcx\n"
                   "addq $8, %%rcx\n"
                   "testl %[bits], %%ecx\n"
                   "jz %l[slow]\n"
                   "movq %[obj], (%%rcx)\n"
                   "movq %%rcx, (%[cpus], %%rax)\n" RSEQ_END
        :
        : [obj] "r"(obj), [rseq] "r"(rseq_offset), [cpus] "r"(cpus), [bits] "i"(ROUND_BITS)
        : "rax", "rcx", "memory", "cc"
        : slow, aborted);
    return;
aborted:
    c_free_aborted(obj);
    return;
slow:
    c_free_slow(obj);
}

bool
per_cpu_available(void)
{
    rseq_offset = __rseq_offset;
    if (__rseq_size == 0)
        puts("frontends: no restartable sequences are registered here; nothing measured");
    else if (sysconf(_SC_NPROCESSORS_CONF) > CPUS_MAX)
        puts("frontends: more CPUs than it was written for; nothing measured");
    else
        return true;
    return false;
}

void
per_cpu_pretend(void)
{
    rseq_offset = __rseq_offset;
    if (__rseq_size == 0)
        rseq_self()->cpu_id = 0;
}

uint64_t
per_cpu_aborts(void)
{
    return aborts_sum;
}

static void
c_begin(size_t thread)
{
    if ((int32_t)rseq_self()->cpu_id < 0)
        die("a thread without rseq");
}

static void
c_end(void)
{
    atomic_fetch_add(&aborts_sum, c_aborts);
}

static size_t
rounds_at(uintptr_t at)
{
    return at == 0 ? 0 : (at % MAGAZINE_SIZE - EMPTY_AT) / sizeof(void *);
}

static size_t
c_cached(void)
{
    size_t rounds = 0;
    for (struct cpu *c = cpus; c < cpus + CPUS_MAX; c++)
        rounds += rounds_at(c->c_cur) + rounds_at(c->c_previous);
    return rounds;
}

const struct front per_cpu = {'C', c_alloc, c_free, c_begin, c_end, c_cached};

#endif
