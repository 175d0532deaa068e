/* SPDX-License-Identifier: MIT */
/*
 * target.h - a process to be looked at: a core file or a live pid, behind one
 * interface.
 *
 * Everything above reads memory, mappings, modules, threads and symbols
 * through this header only.  ELF, DWARF and unwinding are elfutils'.  A live
 * process is stopped while it is open (PTRACE_SEIZE + INTERRUPT on every
 * thread) and let go by target_close(), and by the kernel if we die.
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
};

struct module { /* a loaded ELF object */
    const char *mod_path;
    addr_t mod_start; /* lowest mapped address */
    addr_t mod_end;
    addr_t mod_bias; /* what is added to the file's addresses */
};

#define TARGET_REGISTERS_MAX 256 /* words: general registers and the vector state */

struct thread {
    pid_t thr_tid;
    bool thr_stopped;    /* registers are valid */
    addr_t thr_sp;       /* stack pointer */
    addr_t thr_pc;
    addr_t thr_fs_base;  /* thread pointer */
    size_t thr_nregs;    /* words of thr_regs in use, NT_PRSTATUS, FP and XSTATE alike */
    uint64_t thr_regs[TARGET_REGISTERS_MAX * 4];
};

struct symbol {
    char sym_function[256]; /* "" where unknown; C++ names demangled */
    char sym_module[256];   /* file name of the module, "" where unknown */
    uint64_t sym_offset;    /* from the function's start, or the module's where no function */
    char sym_file[512];     /* "" where there is no line information */
    int sym_line;
};

struct target_options {
    const char *opt_exe; /* executable of a core, or NULL to find it */
};

/*
 * Opens "123" as a pid, anything else as a core file.  NULL after one line on
 * stderr that says what to do.
 */
struct target *target_open(const char *name, const struct target_options *options);
void target_close(struct target *t);

const char *target_name(const struct target *t);
bool target_is_live(const struct target *t);
pid_t target_pid(const struct target *t);
/* Path of the executable, or "". */
const char *target_executable(const struct target *t);
/* False: parts are missing (truncated core, unreadable pages, a thread not stopped). */
bool target_is_complete(const struct target *t);
/* What is missing, one reason a call of index 0, 1, ...; NULL past the end. */
const char *target_incomplete_reason(const struct target *t, size_t index);
/* Now, on the target's CLOCK_MONOTONIC in ns; for a core its newest time known, or 0. */
uint64_t target_now(const struct target *t);

/* Reads size bytes at addr.  Returns the bytes read from the start on (less at a hole). */
size_t target_read(struct target *t, addr_t addr, void *buf, size_t size);
/* All or nothing. */
bool target_read_exact(struct target *t, addr_t addr, void *buf, size_t size);
/*
 * Core: a pointer into the mapped file for [addr, addr + size), or NULL where
 * it is not contiguous there or the target is live.
 */
const void *target_peek(struct target *t, addr_t addr, size_t size);

size_t target_mappings(const struct target *t, const struct mapping **maps); /* by address */
const struct mapping *target_mapping_of(const struct target *t, addr_t addr);
size_t target_modules(const struct target *t, const struct module **modules);
size_t target_threads(const struct target *t, const struct thread **threads);

/* Address of a data symbol in whichever modules define it; calls fn for each. */
void target_find_symbol(struct target *t, const char *name,
                        bool (*fn)(void *arg, const struct module *mod, addr_t addr), void *arg);

/*
 * Describes a code address.  return_address: look up addr - 1.  Inlined
 * callers are given as further records, outermost last; returns how many
 * (at least 1), at most max.
 */
size_t target_symbolise(struct target *t, addr_t addr, bool return_address, struct symbol *symbols,
                        size_t max);
/* Return addresses of a thread, innermost first. */
size_t target_unwind(struct target *t, const struct thread *thr, addr_t *frames, size_t max);

#endif
