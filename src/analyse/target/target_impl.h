/* SPDX-License-Identifier: MIT */
/*
 * target_impl.h - what the files of this folder share: the target's tables and
 * the functions that fill them.
 *
 *   target.c     opening, closing, tables, reads from segments
 *   core.c       a core file: headers, segments, gaps filled from files
 *   temporary.c  files without a name
 *   compressed.c unpacking of compressed cores
 *   notes.c      the core's notes: threads, mapped files, auxiliary vector
 *   live.c       a live process: stopping, maps, memory
 *   status.c     fields of /proc/PID/status
 *   self.c       a live process that makes a core file of itself
 *   fork.c       target_fork: a live process's copy that the kernel makes
 *   copy.c       target_copy
 *   pages.c      which pages of a live process exist
 *   zeroes.c     what is known to be zero
 *   maps.c       lines of /proc/PID/maps
 *   dump.c       target_dump: a core file of a live process
 *   whole.c      files that are there when they are whole
 *   dump_notes.c its notes
 *   machine.c    register layouts
 *   modules.c    which mappings are ELF objects, and the files they came from
 *   symtab.c     target_find_symbol
 *   helper.c     the child process that runs libdw, and its pipe
 *   symbolise.c  (in the child) address to function, file and line
 *   scopes.c     (in the child) units and functions by address
 *   unwind.c     (in the child) stacks
 *
 * libelf runs in this process; libdw and libdwfl, which have crashed on bad
 * files, run in the child only.
 */
#ifndef ANALYSE_TARGET_IMPL_H
#define ANALYSE_TARGET_IMPL_H

#include "target/target.h"

#include <libelf.h>
#include <limits.h>
#include <sys/types.h>

#define TARGET_PAGE 4096 /* smallest page of any machine; only a step, never a promise */

/* A run of target memory whose contents we hold; sorted, not overlapping. */
struct segment {
    addr_t seg_start;
    addr_t seg_end;
    const unsigned char *seg_data;
};

/* A run of target memory that is zero; sorted, not overlapping. */
struct zero_run {
    addr_t zero_start;
    addr_t zero_end;
};

/* A file that a module came from, mapped read-only. */
struct backing {
    char *back_path; /* where it was opened; NULL: not found or another build */
    const unsigned char *back_data;
    size_t back_size;
    bool back_tried;
};

/* Registers as the kernel hands them out, by index of word; thr_regs has each in 8 bytes. */
struct machine {
    int mach_elf; /* EM_* */
    const char *mach_name;
    unsigned mach_word;                /* bytes */
    size_t mach_nregs;                 /* words of the general registers */
    const char *const *mach_registers; /* their names */
    size_t mach_sp;
    size_t mach_pc;
    size_t mach_thread; /* thread pointer, or MACHINE_NO_REGISTER */
    unsigned mach_dwarf_count;
    unsigned char mach_dwarf[33]; /* word index of DWARF register 0, 1, ... */
    bool mach_dwarf_has_pc;
    unsigned mach_dwarf_sp; /* DWARF's number of the stack pointer */
};
#define MACHINE_NO_REGISTER ((size_t)-1)
#define MACHINE_I386_GS 10 /* word index of xgs */

/* Memory of a live process that target_copy holds. */
struct copy {
    void *copy_data;
    size_t copy_size;
};

struct helper;

struct target {
    char *t_name;
    uint64_t t_self_stopped_ns; /* how long it stood still to make the core file */
    bool t_live;
    bool t_self;           /* a process that has made the core file itself, when it was asked */
    bool t_zeroes_known;   /* of a live process without copies: all that there are */
    bool t_image_borrowed; /* the caller's, not a mapping of ours */
    pid_t t_pid;
    char *t_exe;
    const struct machine *t_machine;
    const char *t_opt_exe;
    bool t_file_serves; /* a core file is as good as a process */

    struct segment *t_segments;
    size_t t_segment_count;
    struct zero_run *t_zeroes;
    size_t t_zero_count;
    struct mapping *t_mappings;
    size_t t_mapping_count;
    struct module *t_modules;
    struct backing *t_backings; /* one a module */
    size_t t_module_count;
    struct thread *t_threads;
    size_t t_thread_count;
    char **t_reasons;
    size_t t_reason_count;

    /* From the auxiliary vector; 0 unknown. */
    addr_t t_entry;
    addr_t t_vdso;
    addr_t t_execfn;

    /* Of a core that target_dump() wrote; 0 and NULL in others. */
    uint64_t t_time; /* CLOCK_MONOTONIC then, ns */
    char *t_maps;    /* /proc/PID/maps */

    /* Core. */
    Elf *t_elf;
    const unsigned char *t_image;
    size_t t_image_size;

    /* Live. */
    int t_mem_fd;
    int t_pagemap_fd; /* -1: not readable */
    bool t_pagemap_tried;
    bool t_stopped;
    pid_t t_mem_pid;      /* whose memory is read: t_pid, or a copy of it (fork.c) */
    uint64_t t_run_time;  /* and when all of them went on; 0: not yet */
    uint64_t t_stop_time; /* CLOCK_MONOTONIC when the first thread was asked to stop */
    bool t_job_stopped;   /* by SIGSTOP or a terminal's */
    bool t_own_child;     /* its end is for whoever started it to wait for */
    struct copy *t_copies;
    size_t t_copy_count;
    int *t_signals; /* one a thread: to be delivered when it goes on */

    struct helper *t_helper;
    unsigned t_helper_deaths;
};

/* --- target.c --- */

/* One that is not open yet; for target_close(). */
struct target *target_create(const char *name);
/* "umem: NAME: ..." on stderr.  Always false. */
bool target_complain(const struct target *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void target_add_reason(struct target *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void target_add_segment(struct target *t, addr_t start, addr_t end, const void *data);
void target_sort_segments(struct target *t);
/* Segment of the lowest end above addr, or t_segment_count. */
size_t target_segment_index(const struct target *t, addr_t addr);
struct mapping *target_add_mapping(struct target *t, addr_t start, addr_t end, unsigned flags,
                                   const char *name, uint64_t offset);
void target_sort_mappings(struct target *t);
/* realloc of an array for one element more, doubling; aborts without memory. */
void *target_grow(void *array, size_t count, size_t size);
char *target_strdup(const char *s);

/* --- core.c, live.c: fill t; false after one line on stderr --- */

bool core_open(struct target *t);
/* The same of a file that is open; it stays so. */
bool core_open_file(struct target *t, int fd);
bool live_open(struct target *t);
/* Whether there is such a process to be looked at, by what anybody may know of it. */
bool live_check(const struct target *t);
void live_resume(struct target *t);
size_t live_read(const struct target *t, addr_t addr, void *buf, size_t size);

/* --- fork.c --- */

/* Ends the copy, if there is one; memory is the process's own again. */
void fork_end(struct target *t);

/* --- status.c --- */

/* The words behind "NAME:" in a status file, or "" where there are none. */
void status_words(const char *path, const char *name, char *words, size_t size);
/* The first of them in /proc/PID/status, as a number (or its first letter); -1: missing. */
long status_field(pid_t pid, const char *name);
/* The process's id in its own namespace. */
pid_t status_own_pid(pid_t pid);

/* --- self.c: see umem_agent(7) --- */

bool self_open(struct target *t);
/* Whether somebody listens whom one could ask. */
bool self_is_possible(const struct target *t);

/* --- temporary.c --- */

/* A file without a name in TMPDIR, or where large files belong.  -1 with errno. */
int temporary_file(void);

/* --- compressed.c --- */

/* The tool that unpacks what data begins, or NULL where it is not compressed. */
const char *compressed_tool(const void *data, size_t size);
/* A descriptor of the unpacked file; -1 after one line on stderr. */
int compressed_unpack(struct target *t, int fd, const char *tool);

/* --- pages.c --- */

enum page {
    PAGE_ZERO, /* it does not exist and reads as zeroes */
    PAGE_READ, /* it is to be read */
    PAGE_HOLE, /* a guard: it cannot be read */
    PAGE_FILE  /* as it is in its file */
};
enum page_rule {
    PAGES_SPARSE,  /* private anonymous memory: zero where it does not exist */
    PAGES_SHARED,  /* shared memory, of a file or of none: zero where that has a hole */
    PAGES_MODIFIED /* a private file mapping: only what differs from the file is to be read */
};
enum page_rule pages_rule(const struct mapping *map);
typedef void pages_fn(void *arg, addr_t start, addr_t end, enum page kind);
/* Calls fn for runs of pages of one kind, by address. */
void pages_walk(struct target *t, addr_t start, addr_t end, enum page_rule rule, pages_fn *fn,
                void *arg);

/* --- zeroes.c --- */

/* Notes a run; what is short may be forgotten. */
void zeroes_add(struct target *t, addr_t start, addr_t end);
void zeroes_sort(struct target *t);
/* Notes the holes of the file that a core's segments lie in. */
void zeroes_of_file(struct target *t, int fd);

/* --- maps.c --- */

/* Adds the mapping that a line of /proc/PID/maps tells of. */
void maps_add_line(struct target *t, const char *line);

/* --- whole.c --- */

/* A file that gets its name when it is whole. */
struct whole_file {
    int whl_fd;
    const char *whl_path;
    char whl_part[PATH_MAX]; /* its name until then, where it needs one */
    bool whl_named;
};
/* False with errno. */
bool whole_open(struct whole_file *file, const char *path);
/* ok: it is whole; else nothing stays.  Whether it is there, with errno. */
bool whole_finish(struct whole_file *file, bool ok);
/* One line on stderr.  Always false. */
bool whole_complain(const char *path, int error);

/* --- dump_notes.c --- */

/*
 * Owner and types of the notes that only this project's dumps have.  The types
 * are none of anybody's: gdb goes by them alone.
 */
#define DUMP_NOTE_OWNER "UMEM"
#define DUMP_NOTE_TIME 0x756d0001    /* 8 bytes: CLOCK_MONOTONIC, ns */
#define DUMP_NOTE_MAPS 0x756d0002    /* the text of /proc/PID/maps */
#define DUMP_NOTE_MISSING 0x756d0003 /* a line that says what is not in the file */

struct notes_buffer {
    unsigned char *nb_data;
    size_t nb_size;
    size_t nb_room;
    bool nb_failed; /* no memory */
};
/* All notes of a process that is stopped; to be freed. */
void dump_notes(const struct target *t, struct notes_buffer *notes);

/* --- notes.c --- */

/* Reads threads, mapped files, auxv out of one PT_NOTE's bytes. */
void notes_read(struct target *t, uint64_t offset, uint64_t size, uint64_t align);
void auxv_read(struct target *t, const void *data, size_t size);

/* --- machine.c --- */

const struct machine *machine_find(int elf_machine);
/* Appends words to a thread's registers; the first call gives the general ones. */
/* A pointer of the target's, at an address of ours. */
uint64_t target_word_at(const struct target *t, const void *p);
/* NT_386_TLS, once the general registers are known. */
void thread_add_tls(const struct target *t, struct thread *thr, const void *data, size_t size);
void thread_add_registers(const struct target *t, struct thread *thr, const void *data,
                          size_t size);
struct thread *target_add_thread(struct target *t, pid_t tid);

/* --- modules.c --- */

/* Finds the modules among the mappings; for cores, their files and what these add. */
void modules_find(struct target *t);
/* A module's file; a live one's is looked for at the first call, not while it is stopped. */
const struct backing *module_backing(struct target *t, size_t index);
/* Index of the module that holds addr, or t_module_count. */
size_t module_index(const struct target *t, addr_t addr);
/*
 * The module as a file image put together from target memory, malloc'ed; NULL
 * where its pages cannot be read.  For modules whose file is gone, and the vdso.
 */
void *module_image(struct target *t, const struct module *mod, size_t *size);

/* --- helper.c --- */

void helper_stop(struct target *t);

/* --- symbolise.c, unwind.c: only in the child --- */

struct Dwfl;
struct Dwfl *symbolise_session(struct target *t);
size_t symbolise_here(struct Dwfl *dwfl, struct target *t, addr_t addr, bool return_address,
                      struct symbol *symbols, size_t max);
size_t unwind_here(struct Dwfl *dwfl, struct target *t, size_t thread, struct stack_frame *frames,
                   size_t max);

#endif
