/* SPDX-License-Identifier: MIT */
/*
 * snapshot_notes.c - the notes of the core file that a copy of the process writes:
 * threads with their registers, the process, its auxiliary vector, in the order
 * that the kernel has, and those that the analyser's own files have: the time,
 * the list of mappings, what is missing (src/analyse/target/target_impl.h).
 *
 * The same rules as in snapshot_core.c.
 */
#include "os/snapshot.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/procfs.h>
#include <ucontext.h>

#include "base/print.h"

#define NOTE_ALIGN 4
#define OWN_OWNER "UMEM"
#define OWN_TIME 0x756d0001    /* 8 bytes: CLOCK_MONOTONIC, ns */
#define OWN_MAPS 0x756d0002    /* the text of /proc/PID/maps */
#define OWN_MISSING 0x756d0003 /* a line that says what is not in the file */

#if defined(__x86_64__) || defined(__aarch64__)

static bool
add_note(struct os_heap *notes, const char *owner, uint32_t type, const void *desc, size_t size)
{
    size_t name = strlen(owner) + 1;
    const uint32_t head[] = {(uint32_t)name, (uint32_t)size, type};

    /* Room is zeroed where it comes from the system. */
    return os_heap_add(notes, head, sizeof(head)) != NULL &&
           os_heap_add(notes, owner, name) != NULL &&
           os_heap_add(notes, NULL, -name & (NOTE_ALIGN - 1)) != NULL &&
           os_heap_add(notes, desc, size) != NULL &&
           os_heap_add(notes, NULL, -size & (NOTE_ALIGN - 1)) != NULL;
}

#if defined(__x86_64__)

#include <cpuid.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif
/* What the kernel notes of the vector registers that follow, where hardware has nothing. */
#define FXSAVE_BYTES 512
#define FXSAVE_WRITTEN 416 /* the registers; then nothing, and where the kernel notes it */
#define FXSAVE_SOFTWARE 464
#define XSTATE_HEADER_BYTES 64 /* behind those 512 */
#define XSTATE_PARTS_FIRST 2   /* of the features, those that lie behind that header, */
#define XSTATE_PARTS_END 63    /* and where they end */
#define XSTATE_LEAF 0xd        /* of CPUID, which says where each lies */
#define XSTATE_MAGIC 0x46505853u
#define XSTATE_BYTES_MAX 65536u
struct xstate_software {
    uint32_t sw_magic;
    uint32_t sw_extended_size;
    uint64_t sw_features;
    uint32_t sw_size;
    uint32_t sw_padding[7];
};

/* General registers in the order of struct user_regs_struct (sys/user.h). */
static void
general_registers(const struct os_stopped *thread, elf_gregset_t regs)
{
    static const unsigned char order[] = {REG_R15, REG_R14, REG_R13, REG_R12, REG_RBP,
                                          REG_RBX, REG_R11, REG_R10, REG_R9,  REG_R8,
                                          REG_RAX, REG_RCX, REG_RDX, REG_RSI, REG_RDI};
    enum { AT_ORIG_RAX = 15, AT_RIP, AT_CS, AT_EFLAGS, AT_RSP, AT_SS, AT_FS_BASE };
    enum { USER_CS = 0x33, USER_SS = 0x2b };
    const ucontext_t *context = thread->stop_context;

    regs[AT_ORIG_RAX] = (elf_greg_t)-1; /* in no system call that could be made once more */
    regs[AT_CS] = USER_CS;
    regs[AT_SS] = USER_SS;
    regs[AT_FS_BASE] = thread->stop_pointer;
    if (context == NULL) { /* this thread: nothing of the program's is in its registers */
        regs[AT_RSP] = (elf_greg_t)(uintptr_t)__builtin_frame_address(0);
        regs[AT_RIP] = (elf_greg_t)(uintptr_t)general_registers;
        return;
    }
    const greg_t *from = context->uc_mcontext.gregs;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(order); i++)
        regs[i] = (elf_greg_t)from[order[i]];
    regs[AT_RIP] = (elf_greg_t)from[REG_RIP];
    regs[AT_EFLAGS] = (elf_greg_t)from[REG_EFL];
    regs[AT_RSP] = (elf_greg_t)from[REG_RSP];
}

/*
 * Copies what the processor has written.  The rest is what lay on the stack
 * before, where a leak finder would take a stale pointer for a register's.
 */
static void
copy_xstate(char *to, const char *from, const struct xstate_software *software)
{
    size_t size = software->sw_size;

    memcpy(to, from, FXSAVE_WRITTEN);
    /* In a core the features come first there, and nothing else. */
    memcpy(to + FXSAVE_SOFTWARE, &software->sw_features, sizeof(software->sw_features));
    memcpy(to + FXSAVE_BYTES, from + FXSAVE_BYTES, XSTATE_HEADER_BYTES);
    for (unsigned i = XSTATE_PARTS_FIRST; i < XSTATE_PARTS_END; i++) {
        unsigned bytes, offset, more, flags;
        if ((software->sw_features >> i & 1) != 0 &&
            __get_cpuid_count(XSTATE_LEAF, i, &bytes, &offset, &more, &flags) != 0 &&
            offset <= size && bytes <= size - offset)
            memcpy(to + offset, from + offset, bytes);
    }
}

/* Vector registers: as the processor has saved them on the thread's stack. */
static bool
add_other_registers(const struct os_stopped *thread, struct os_heap *notes)
{
    const ucontext_t *context = thread->stop_context;
    struct xstate_software software;
    char legacy[FXSAVE_BYTES] = {0};

    if (context == NULL || context->uc_mcontext.fpregs == NULL)
        return true;
    const char *saved = (const char *)context->uc_mcontext.fpregs;
    memcpy(legacy, saved, FXSAVE_WRITTEN);
    memcpy(&software, saved + FXSAVE_SOFTWARE, sizeof(software));
    if (!add_note(notes, "CORE", NT_FPREGSET, legacy, sizeof(legacy)))
        return false;
    if (software.sw_magic != XSTATE_MAGIC || software.sw_size > XSTATE_BYTES_MAX ||
        software.sw_size < FXSAVE_BYTES + XSTATE_HEADER_BYTES)
        return true;
    if (!add_note(notes, "LINUX", NT_X86_XSTATE, NULL, software.sw_size))
        return false;
    char *copied =
        notes->heap_data + notes->heap_size - umem_align_up(software.sw_size, NOTE_ALIGN);
    memset(copied, 0, software.sw_size);
    copy_xstate(copied, saved, &software);
    return true;
}

#elif defined(__aarch64__)

#ifndef NT_ARM_TLS
#define NT_ARM_TLS 0x401
#endif

static void
general_registers(const struct os_stopped *thread, elf_gregset_t regs)
{
    enum { GENERAL = 31, AT_SP = 31, AT_PC, AT_PSTATE };
    const ucontext_t *context = thread->stop_context;

    if (context == NULL) { /* this thread: nothing of the program's is in its registers */
        regs[AT_SP] = (elf_greg_t)(uintptr_t)__builtin_frame_address(0);
        regs[AT_PC] = (elf_greg_t)(uintptr_t)general_registers;
        return;
    }
    for (unsigned i = 0; i < GENERAL; i++)
        regs[i] = context->uc_mcontext.regs[i];
    regs[AT_SP] = context->uc_mcontext.sp;
    regs[AT_PC] = context->uc_mcontext.pc;
    regs[AT_PSTATE] = context->uc_mcontext.pstate;
}

/* Vector registers: in the first of the records behind the others. */
static bool
add_other_registers(const struct os_stopped *thread, struct os_heap *notes)
{
    enum { FPSIMD_RECORD = 0x46508001, VECTORS_BYTES = 512 };
    struct {
        uint32_t rec_magic, rec_size, rec_fpsr, rec_fpcr;
        char rec_vectors[VECTORS_BYTES];
    } record;
    struct {
        char fp_vectors[VECTORS_BYTES];
        uint32_t fp_fpsr, fp_fpcr, fp_reserved[2];
    } fp = {{0}, 0, 0, {0}};
    const ucontext_t *context = thread->stop_context;

    if (!add_note(notes, "LINUX", NT_ARM_TLS, &thread->stop_pointer, sizeof(thread->stop_pointer)))
        return false;
    if (context == NULL)
        return true;
    memcpy(&record, context->uc_mcontext.__reserved, sizeof(record));
    if (record.rec_magic != FPSIMD_RECORD)
        return true;
    memcpy(fp.fp_vectors, record.rec_vectors, sizeof(fp.fp_vectors));
    fp.fp_fpsr = record.rec_fpsr;
    fp.fp_fpcr = record.rec_fpcr;
    return add_note(notes, "CORE", NT_FPREGSET, &fp, sizeof(fp));
}

#endif

static bool
add_prstatus(const struct os_stopped *thread, struct os_heap *notes)
{
    struct elf_prstatus pr;

    memset(&pr, 0, sizeof(pr));
    pr.pr_pid = (pid_t)thread->stop_tid;
    general_registers(thread, pr.pr_reg);
    return add_note(notes, "CORE", NT_PRSTATUS, &pr, sizeof(pr));
}

static bool
add_prpsinfo(const struct os_core *core, struct os_heap *notes)
{
    struct elf_prpsinfo ps;
    const char *path = (const char *)(uintptr_t)getauxval(AT_EXECFN);
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;

    memset(&ps, 0, sizeof(ps));
    ps.pr_sname = 'R';
    ps.pr_pid = (pid_t)core->core_process;
    if (path != NULL) {
        (void)umem_snprintf(ps.pr_fname, sizeof(ps.pr_fname), "%s",
                            slash != NULL ? slash + 1 : path);
        (void)umem_snprintf(ps.pr_psargs, sizeof(ps.pr_psargs), "%s", path);
    }
    return add_note(notes, "CORE", NT_PRPSINFO, &ps, sizeof(ps));
}

/* What debuggers go by; the file in /proc is root's in a process that may not be dumped. */
static bool
add_auxv(struct os_heap *notes)
{
    static const unsigned types[] = {AT_SYSINFO_EHDR, AT_HWCAP,  AT_PAGESZ, AT_CLKTCK, AT_PHDR,
                                     AT_PHENT,        AT_PHNUM,  AT_BASE,   AT_FLAGS,  AT_ENTRY,
                                     AT_SECURE,       AT_RANDOM, AT_HWCAP2, AT_EXECFN, AT_PLATFORM};
    uint64_t vector[2 * UMEM_ARRAY_SIZE(types) + 2] = {0}; /* AT_NULL ends it */
    size_t count = 0;

    for (size_t i = 0; i < UMEM_ARRAY_SIZE(types); i++) {
        uint64_t value = getauxval(types[i]);
        if (value == 0)
            continue;
        vector[count++] = types[i];
        vector[count++] = value;
    }
    return add_note(notes, "CORE", NT_AUXV, vector, (count + 2) * sizeof(vector[0]));
}

static bool
add_process(const struct os_core *core, const struct os_heap *maps, struct os_heap *notes)
{
    static const char lost[] = "memory that is not for children (MADV_DONTFORK) is missing";

    return add_prpsinfo(core, notes) && add_auxv(notes) &&
           add_note(notes, OWN_OWNER, OWN_TIME, &core->core_time_ns, sizeof(core->core_time_ns)) &&
           add_note(notes, OWN_OWNER, OWN_MAPS, maps->heap_data, maps->heap_size) &&
           (!core->core_unforked_lost ||
            add_note(notes, OWN_OWNER, OWN_MISSING, lost, sizeof(lost)));
}

static bool
add_unknown(uint32_t tid, struct os_heap *notes)
{
    char line[100];
    size_t length =
        umem_snprintf(line, sizeof(line),
                      "thread %u could not be stopped: its registers and stack are not known", tid);

    return add_note(notes, OWN_OWNER, OWN_MISSING, line, length + 1);
}

int
os_core_notes(const struct os_core *core, const struct os_heap *maps, struct os_heap *notes)
{
    bool ok = true, first = true;

    for (size_t i = 0; ok && i < core->core_thread_count; i++) {
        const struct os_stopped *thread = &core->core_threads[i];
        if (thread->stop_tid == 0)
            continue;
        if (!atomic_load_explicit(&thread->stop_answered, memory_order_acquire)) {
            ok = add_unknown(thread->stop_tid, notes);
            continue;
        }
        ok = add_prstatus(thread, notes);
        if (first)
            ok = ok && add_process(core, maps, notes);
        first = false;
        ok = ok && add_other_registers(thread, notes);
    }
    return ok ? 0 : ENOMEM;
}

#else

int
os_core_notes(const struct os_core *core, const struct os_heap *maps, struct os_heap *notes)
{
    (void)core;
    (void)maps;
    (void)notes;
    return ENOSYS;
}

#endif
