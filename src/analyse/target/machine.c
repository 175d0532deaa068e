/* SPDX-License-Identifier: MIT */
/*
 * machine.c - register layouts: which word of the kernel's general registers
 * is what, so that an analyser built for one machine reads another's cores.
 *
 * The order is that of struct user_regs_struct (x86-64 and i386) and struct
 * user_pt_regs (aarch64); the DWARF numbers are those of the processor's ABI
 * supplement.  Owns no state.
 */
#include "target/target_impl.h"

#include <stdlib.h>
#include <string.h>

static const char *const registers_x86_64[] = {
    "r15",    "r14", "r13", "r12",     "rbp",     "rbx", "r11",      "r10", "r9",
    "r8",     "rax", "rcx", "rdx",     "rsi",     "rdi", "orig_rax", "rip", "cs",
    "eflags", "rsp", "ss",  "fs_base", "gs_base", "ds",  "es",       "fs",  "gs"};
static const char *const registers_i386[] = {"ebx", "ecx", "edx",    "esi", "edi", "ebp",
                                             "eax", "xds", "xes",    "xfs", "xgs", "orig_eax",
                                             "eip", "xcs", "eflags", "esp", "xss"};
static const char *const registers_aarch64[] = {
    "x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",    "x10", "x11",
    "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21",   "x22", "x23",
    "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp",  "pc",  "pstate"};

static const struct machine machines[] = {
    {
        .mach_elf = EM_X86_64,
        .mach_name = "x86-64",
        .mach_word = 8,
        .mach_nregs = 27,
        .mach_registers = registers_x86_64,
        .mach_sp = 19,
        .mach_pc = 16,
        .mach_thread = 21, /* fs_base */
        .mach_dwarf_count = 17,
        /* rax rdx rcx rbx rsi rdi rbp rsp r8 to r15, return address */
        .mach_dwarf = {10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16},
        .mach_dwarf_has_pc = true,
        .mach_dwarf_sp = 7,
    },
    {
        .mach_elf = EM_386,
        .mach_name = "i386",
        .mach_word = 4,
        .mach_nregs = 17,
        .mach_registers = registers_i386,
        .mach_sp = 15,
        .mach_pc = 12,
        .mach_thread = MACHINE_NO_REGISTER, /* in NT_386_TLS, under the selector in xgs */
        .mach_dwarf_count = 9,
        /* eax ecx edx ebx esp ebp esi edi eip */
        .mach_dwarf = {6, 1, 2, 0, 15, 5, 3, 4, 12},
        .mach_dwarf_has_pc = true,
        .mach_dwarf_sp = 4,
    },
    {
        .mach_elf = EM_AARCH64,
        .mach_name = "aarch64",
        .mach_word = 8,
        .mach_nregs = 34,
        .mach_registers = registers_aarch64,
        .mach_sp = 31,
        .mach_pc = 32,
        .mach_thread = MACHINE_NO_REGISTER, /* in NT_ARM_TLS */
        .mach_dwarf_count = 32,
        .mach_dwarf = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                       16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
        .mach_dwarf_sp = 31,
    },
};

const struct machine *
machine_find(int elf_machine)
{
    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++)
        if (machines[i].mach_elf == elf_machine)
            return &machines[i];
    return NULL;
}

const char *
target_register_name(const struct target *t, size_t index)
{
    const struct machine *mach = t->t_machine;
    return mach != NULL && index < mach->mach_nregs ? mach->mach_registers[index] : NULL;
}

struct thread *
target_add_thread(struct target *t, pid_t tid)
{
    t->t_threads = target_grow(t->t_threads, t->t_thread_count, sizeof(struct thread));
    struct thread *thr = &t->t_threads[t->t_thread_count++];
    *thr = (struct thread){.thr_tid = tid};
    return thr;
}

unsigned
target_word(const struct target *t)
{
    return t->t_machine != NULL ? t->t_machine->mach_word : sizeof(uint64_t);
}

uint64_t
target_word_at(const struct target *t, const void *p)
{
    uint64_t wide;
    uint32_t narrow;
    if (target_word(t) == sizeof(narrow)) {
        memcpy(&narrow, p, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, p, sizeof(wide));
    return wide;
}

/* Entries of struct user_desc: number, base, limit, flags. */
#define USER_DESC_WORDS 4
#define SELECTOR_SHIFT 3

void
thread_add_tls(const struct target *t, struct thread *thr, const void *data, size_t size)
{
    const uint32_t *desc = data;
    uint32_t entry[USER_DESC_WORDS];
    const struct machine *mach = t->t_machine;
    if (mach->mach_elf != EM_386 || thr->thr_nregs < mach->mach_nregs)
        return;
    uint64_t number = thr->thr_regs[MACHINE_I386_GS] >> SELECTOR_SHIFT;
    for (; size >= sizeof(entry); size -= sizeof(entry), desc += USER_DESC_WORDS) {
        memcpy(entry, desc, sizeof(entry));
        if (entry[0] == number)
            thr->thr_fs_base = entry[1];
    }
}

void
thread_add_registers(const struct target *t, struct thread *thr, const void *data, size_t size)
{
    const struct machine *mach = t->t_machine;
    bool general = thr->thr_nregs == 0;
    size_t unit = general ? mach->mach_word : sizeof(uint64_t);
    size_t words = (size + unit - 1) / unit;
    uint64_t *regs =
        realloc((void *)(uintptr_t)thr->thr_regs, (thr->thr_nregs + words) * sizeof(uint64_t));
    if (regs == NULL)
        return;
    regs[thr->thr_nregs + words - 1] = 0; /* the odd bytes of the last word */
    if (unit == sizeof(uint64_t))
        memcpy(regs + thr->thr_nregs, data, size);
    for (size_t i = 0; unit != sizeof(uint64_t) && i < words; i++)
        regs[i] = target_word_at(t, (const char *)data + i * unit);
    thr->thr_regs = regs;
    thr->thr_nregs += words;
    if (!general || words < mach->mach_nregs)
        return;
    thr->thr_stopped = true;
    thr->thr_sp = regs[mach->mach_sp];
    thr->thr_pc = regs[mach->mach_pc];
    if (mach->mach_thread != MACHINE_NO_REGISTER)
        thr->thr_fs_base = regs[mach->mach_thread];
}
