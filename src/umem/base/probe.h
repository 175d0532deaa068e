/* SPDX-License-Identifier: MIT */
/*
 * probe.h - static probes (USDT): points of the code that a tracer outside of
 * the process, as perf, bpftrace, gdb or an eBPF profiler, finds by name and
 * can stop at.
 *
 * A probe is one nop and a note in .note.stapsdt, which is not loaded: where
 * the nop, and what to count up while somebody looks (the semaphore), lie, and
 * where the arguments are (SystemTap's format, version 3).  The arguments are
 * where the processor's calling convention has them, for tracers that read the
 * registers by that.  Nobody looks: a load and a branch that is not taken.
 *
 * On a processor that is not listed there is no note, and the argument
 * expressions are evaluated alone.  Owns no state.
 */
#ifndef UMEM_PROBE_H
#define UMEM_PROBE_H

#include <stdint.h>

/*
 * Defines the semaphore that UMEM_PROBE_ON(name) and the note refer to: tracers
 * write to it.  Once for each probe and library; name is provider_probe.
 */
#define UMEM_PROBE_SEMAPHORE(name)                                                                 \
    __attribute__((section(".probes"), visibility("hidden"),                                       \
                   used)) volatile uint16_t name##_semaphore

/* Whether a tracer looks at the probe. */
#define UMEM_PROBE_ON(name) __builtin_expect(name##_semaphore != 0, 0)

#if UINTPTR_MAX > 0xffffffff
#define UMEM_PROBE_WORD ".8byte"
#else
#define UMEM_PROBE_WORD ".4byte"
#endif

/* The note of a nop; args is what the format calls the argument string. */
#define UMEM_PROBE_NOTE(provider, probe, args)                                                     \
    "990: nop\n"                                                                                   \
    ".pushsection .note.stapsdt, \"?\", \"note\"\n"                                                \
    ".balign 4\n"                                                                                  \
    ".4byte 992f - 991f, 994f - 993f, 3\n"                                                         \
    "991: .asciz \"stapsdt\"\n"                                                                    \
    "992: .balign 4\n"                                                                             \
    "993: " UMEM_PROBE_WORD " 990b, _.stapsdt.base, " #provider "_" #probe "_semaphore\n"          \
    ".asciz \"" #provider "\"\n"                                                                   \
    ".asciz \"" #probe "\"\n"                                                                      \
    ".asciz \"" args "\"\n"                                                                        \
    "994: .balign 4\n"                                                                             \
    ".popsection\n"                                                                                \
    ".ifndef _.stapsdt.base\n" /* by which a tracer sees that addresses were moved */              \
    ".pushsection .stapsdt.base, \"aG\", \"progbits\", .stapsdt.base, comdat\n"                    \
    ".weak _.stapsdt.base\n"                                                                       \
    ".hidden _.stapsdt.base\n"                                                                     \
    "_.stapsdt.base: .space 1\n"                                                                   \
    ".size _.stapsdt.base, 1\n"                                                                    \
    ".popsection\n"                                                                                \
    ".endif\n"

/*
 * UMEM_PROBE1(provider, probe, a): a is a pointer.
 * UMEM_PROBE3(provider, probe, a, b, c): b is a size_t, c a uint64_t.
 */
#if defined(__x86_64__) && defined(__LP64__)

#define UMEM_PROBE1(provider, probe, a)                                                            \
    __asm__ volatile(UMEM_PROBE_NOTE(provider, probe, "8@%%rdi")::"D"(a))
#define UMEM_PROBE3(provider, probe, a, b, c)                                                      \
    __asm__ volatile(UMEM_PROBE_NOTE(provider, probe, "8@%%rdi 8@%%rsi 8@%%rdx")::"D"(a), "S"(b),  \
                     "d"(c))

#elif defined(__aarch64__)

#define UMEM_PROBE1(provider, probe, a)                                                            \
    do {                                                                                           \
        register uintptr_t probe_x0 __asm__("x0") = (uintptr_t)(a);                                \
        __asm__ volatile(UMEM_PROBE_NOTE(provider, probe, "8@x0")::"r"(probe_x0));                 \
    } while (0)
#define UMEM_PROBE3(provider, probe, a, b, c)                                                      \
    do {                                                                                           \
        register uintptr_t probe_x0 __asm__("x0") = (uintptr_t)(a);                                \
        register uint64_t probe_x1 __asm__("x1") = (b);                                            \
        register uint64_t probe_x2 __asm__("x2") = (c);                                            \
        __asm__ volatile(UMEM_PROBE_NOTE(provider, probe, "8@x0 8@x1 8@x2")::"r"(probe_x0),        \
                         "r"(probe_x1), "r"(probe_x2));                                            \
    } while (0)

#elif defined(__i386__) /* its convention has them in memory, where the compiler may have more */

#define UMEM_PROBE1(provider, probe, a)                                                            \
    __asm__ volatile(UMEM_PROBE_NOTE(provider, probe, "4@%%eax")::"a"(a))
#define UMEM_PROBE3(provider, probe, a, b, c)                                                      \
    do {                                                                                           \
        uint64_t probe_wide = (c);                                                                 \
        __asm__ volatile(UMEM_PROBE_NOTE(provider, probe, "4@%%eax 4@%%edx 8@%2")::"a"(a), "d"(b), \
                         "m"(probe_wide));                                                         \
    } while (0)

#else

#define UMEM_PROBE1(provider, probe, a) ((void)(a))
#define UMEM_PROBE3(provider, probe, a, b, c) ((void)(a), (void)(b), (void)(c))

#endif

#endif
