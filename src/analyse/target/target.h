/* SPDX-License-Identifier: MIT */
/*
 * target.h - a process to be looked at: a core file or a live pid, behind one
 * interface.
 *
 * Everything above reads memory, mappings, modules, threads and symbols
 * through this header only.  ELF, DWARF and unwinding are elfutils'.  A live
 * process is stopped while it is open (PTRACE_SEIZE + INTERRUPT on every
 * thread) and let go by target_resume() or target_close(), and by the kernel if
 * we die.
 *
 * target_read, target_read_exact, target_read_pages, target_after_hole,
 * target_peek, target_data and target_mapping_of may be called by several
 * threads at once; everything else by one thread at a time.
 */
#ifndef ANALYSE_TARGET_H
#define ANALYSE_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint64_t addr_t; /* an address in the target */

struct target;

enum mapping_flags {
    MAPPING_READ = 1,
    MAPPING_WRITE = 2,
    MAPPING_EXEC = 4,
    MAPPING_PRIVATE = 8,
    MAPPING_ANONYMOUS = 16, /* no file behind it */
    MAPPING_PRESENT = 32    /* contents can be read (core: dumped, or file found) */
};

struct mapping {
    addr_t map_start;
    addr_t map_end; /* exclusive */
    unsigned map_flags;
    const char *map_name; /* path, "[heap]", "[stack]", "[anon:...]" or "" */
    uint64_t map_offset;  /* in the file, where there is one */
    uint64_t map_inode;   /* of that file; 0: none, or of a core */
};

#define TARGET_BUILD_ID_MAX 32 /* bytes; linkers write 8, 16 or 20 */

struct module { /* a loaded ELF object */
    const char *mod_path;
    addr_t mod_start; /* lowest mapped address */
    addr_t mod_end;
    addr_t mod_bias; /* what is added to the file's addresses */
    unsigned char mod_build_id[TARGET_BUILD_ID_MAX];
    size_t mod_build_id_size; /* 0: unknown */
};

struct thread {
    pid_t thr_tid;
    bool thr_stopped; /* registers are valid */
    addr_t thr_sp;    /* stack pointer */
    addr_t thr_pc;
    addr_t thr_fs_base;       /* thread pointer */
    size_t thr_nregs;         /* words of thr_regs in use, NT_PRSTATUS, FP and XSTATE alike */
    size_t thr_fp_words;      /* of those behind the general ones that are NT_FPREGSET */
    const uint64_t *thr_regs; /* as many as the CPU has: AMX alone is 8 KiB */
};

struct symbol {
    char sym_function[256]; /* "" where unknown; C++ names demangled */
    char sym_module[256];   /* file name of the module, "" where unknown */
    uint64_t sym_offset;    /* from the function's start, or the module's where no function */
    char sym_file[512];     /* "" where there is no line information */
    int sym_line;
    bool sym_inlined; /* inlined into the next record; sym_offset is 0 then */
};

struct target_options {
    const char *opt_exe; /* executable of a core, or NULL to find it */
    bool opt_process;    /* only a process is of use: messages say so */
    bool opt_self;       /* a process is not to be stopped, but asked for a snapshot of itself */
};

/*
 * Opens "123" as a pid, anything else as a core file.  A process that is asked
 * for a snapshot of itself is a core file then.  NULL after one line on stderr
 * that says what to do.
 */
struct target *target_open(const char *name, const struct target_options *options);
/*
 * The same for a core that is in memory already, where it stays until
 * target_close(); name is only what it is called in messages.
 */
struct target *target_open_image(const char *name, const void *image, size_t size);
void target_close(struct target *t);
/*
 * Live: has the kernel make a copy of the process, as fork(2) does, and lets
 * the process run on; memory is read from the copy until target_resume() or
 * target_close(), which end it.  False where that is not possible or might
 * harm: nothing has changed, the process is still stopped.
 */
bool target_fork(struct target *t);
/*
 * Live: copies [start, end) into our memory, so that reads (and target_peek)
 * are answered from there, then and after target_resume.  Costs memory for the
 * pages that exist only.  Returns the bytes now held; 0 for a core, which needs
 * no copy.  Ranges must not overlap; one that begins within another is left
 * as that one is.
 */
size_t target_copy(struct target *t, addr_t start, addr_t end);
/*
 * Live: lets the process, or its copy, go.  Mappings, modules, threads' registers stay as
 * they were; memory that was not copied is read as it is by then, and stacks
 * can no longer be unwound.
 */
void target_resume(struct target *t);

/* Bytes of a pointer: 4 or 8. */
unsigned target_word(const struct target *t);
/* Live: how long it stood still, ns, or has so far.  0 for a core. */
uint64_t target_stopped_ns(const struct target *t);

struct dump_options {
    const char *dmp_path;
    bool dmp_copy; /* may take the memory over, so that the process runs on meanwhile */
    bool dmp_all;  /* also what a debugger wants: the first page of each file, text of lost ones */
};
struct dump_result {
    uint64_t dmp_memory;     /* bytes of it in the file */
    uint64_t dmp_file_size;  /* pages that are zero take no room on the disk */
    uint64_t dmp_stopped_ns; /* how long the process stood still */
    size_t dmp_segments;
};
/*
 * Live: writes a core file, with all that gdb expects of one and notes of our
 * own beside (the time, the mappings).  The file is there when it is whole, or
 * not at all.  False after one line on stderr.  Once a target.
 */
bool target_dump(struct target *t, const struct dump_options *options, struct dump_result *result);
/* The same of a process that does it itself when it is asked. */
bool target_dump_self(const char *name, const struct dump_options *options,
                      struct dump_result *result);

const char *target_name(const struct target *t);
bool target_is_live(const struct target *t);
/* Also one that has made a snapshot of itself; else a file was given. */
bool target_is_process(const struct target *t);
pid_t target_pid(const struct target *t);
/* Path of the executable, or "". */
const char *target_executable(const struct target *t);
/* False: parts are missing (truncated core, unreadable pages, a thread not stopped). */
bool target_is_complete(const struct target *t);
/* What is missing, one reason a call of index 0, 1, ...; NULL past the end. */
const char *target_incomplete_reason(const struct target *t, size_t index);
/* Now, on the target's CLOCK_MONOTONIC in ns; for a core when it was taken, or 0. */
uint64_t target_now(const struct target *t);

/* Reads size bytes at addr.  Returns the bytes read from the start on (less at a hole). */
size_t target_read(struct target *t, addr_t addr, void *buf, size_t size);
/*
 * Reads round holes: what cannot be read (guard pages, parts missing in the
 * core) is zero in buf.  Returns the bytes that were read.
 */
size_t target_read_pages(struct target *t, addr_t addr, void *buf, size_t size);
/* Where nothing can be read at addr: the first address above it where something may. */
addr_t target_after_hole(const struct target *t, addr_t addr);
/* All or nothing. */
bool target_read_exact(struct target *t, addr_t addr, void *buf, size_t size);
/*
 * Core: a pointer into the mapped file for [addr, addr + size), or NULL where
 * it is not contiguous there.  Live: the same for what target_copy holds.
 */
const void *target_peek(struct target *t, addr_t addr, size_t size);

/*
 * Live: finds out which pages do not exist, where no target_copy() did; to be
 * called before much is read, while the process, or its copy, stands still.
 * Once is enough.
 */
void target_find_zeroes(struct target *t);
/*
 * The first run [*start, *stop) of [addr, end) without what is known to be zero:
 * pages of a live process that do not exist, holes of files, of a core too.  Short ones
 * of these are part of the run.  False: there is nothing else.
 */
bool target_data(const struct target *t, addr_t addr, addr_t end, addr_t *start, addr_t *stop);

size_t target_mappings(const struct target *t, const struct mapping **maps); /* by address */
const struct mapping *target_mapping_of(const struct target *t, addr_t addr);
size_t target_modules(const struct target *t, const struct module **modules);
size_t target_threads(const struct target *t, const struct thread **threads);

/*
 * Of private anonymous memory: the first page in [start, end) that exists, so that all below was
 * never written; end where none does, start where nobody says (a core, no /proc/PID/pagemap).
 */
addr_t target_first_page(struct target *t, addr_t start, addr_t end);
/* Live: page faults of the process so far; false for a core. */
bool target_faults(const struct target *t, uint64_t *faults);

/*
 * Address of a symbol in whichever modules define it, dynamic symbols first
 * and the executable's .symtab after; calls fn for each until it returns false.
 */
void target_find_symbol(struct target *t, const char *name,
                        bool (*fn)(void *arg, const struct module *mod, addr_t addr), void *arg);

/*
 * Describes a code address.  return_address: look up addr - 1.  Inlined
 * callers are given as further records, outermost last; returns how many
 * (at least 1), at most max.
 */
size_t target_symbolise(struct target *t, addr_t addr, bool return_address, struct symbol *symbols,
                        size_t max);
/*
 * A thread's stack, innermost first.  frames[0] is the pc; the others are
 * return addresses (where a signal interrupted a function: its pc + 1), so look
 * them up with return_address set.
 */
size_t target_unwind(struct target *t, const struct thread *thr, addr_t *frames, size_t max);

struct stack_frame {
    addr_t frame_pc; /* as target_unwind gives it */
    addr_t frame_sp; /* the stack pointer in that function; 0 unknown */
};

/* The same with stack pointers. */
size_t target_unwind_frames(struct target *t, const struct thread *thr, struct stack_frame *frames,
                            size_t max);

/* Name of the word of this index in thr_regs, as the kernel has it ("rip"); NULL past the last. */
const char *target_register_name(const struct target *t, size_t index);

#endif
