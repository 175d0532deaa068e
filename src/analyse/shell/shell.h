/* SPDX-License-Identifier: MIT */
/*
 * shell.h - the interpreter behind `umem shell`: a session with one target,
 * and what its commands are made of.
 *
 *   expr.c       expressions
 *   parse.c      a command line into a pipeline of stages
 *   run.c        runs a pipeline: each stage's addresses are the next one's
 *   session.c    target, heap, variables, symbols; open and close
 *   tables.c     all dcmds and walkers by name
 *   options.c    a dcmd's options
 *   line.c       reading lines, with history and completion where there is libedit
 *   cmd_*.c      dcmds, a file a group
 *   walk_*.c     walkers, the same
 *
 * A dcmd prints to standard output.  Within a pipeline it says addresses
 * instead (shell_say_address); a walker only finds addresses.  Whatever goes
 * wrong is one line by shell_error(), and the session goes on.
 *
 * The heap is read once, when the session is opened, and never changed by a
 * dcmd: a live process runs on in a copy that the kernel made, or stays stopped
 * where that cannot be, and a core stays as it is.
 */
#ifndef ANALYSE_SHELL_SHELL_H
#define ANALYSE_SHELL_SHELL_H

#include <signal.h>

#include "heap/heap.h"
#include "report/stacks.h"

#define SHELL_WHY_MAX 512

struct addresses {
    addr_t *list;
    size_t count;
    size_t room;
};

struct shell_variable {
    char var_name[32];
    uint64_t var_value;
};

struct shell_leaks;
struct bufctl_table;

struct shell {
    const char *sh_name; /* of the target, as it was given */
    struct target *sh_target;
    struct heap sh_heap;
    bool sh_has_heap;
    char sh_no_heap[SHELL_WHY_MAX]; /* why, where there is none */
    struct symboliser *sh_symbols;

    addr_t sh_dot;
    size_t sh_thread; /* whose registers <rip and $r are: index in the target's threads */
    struct shell_variable *sh_variables;
    size_t sh_variable_count;
    size_t sh_variable_room;

    struct addresses sh_said; /* by the stage that runs */
    bool sh_quit;
    bool sh_error; /* a command has failed */
    bool sh_found; /* a dcmd found what is to be complained of: leaks, damage */

    struct shell_leaks *sh_leaks;    /* of ::findleaks; NULL before */
    struct bufctl_table *sh_bufctls; /* bufctl to block; NULL before it is needed */
    struct event_list sh_log;        /* of transactions */
    bool sh_log_read;
};

/* Set by SIGINT: what runs is to end soon. */
extern volatile sig_atomic_t shell_interrupted;

/* --- Dcmds --- */

enum call_flags {
    CALL_ADDRESS = 1, /* an address was given, or comes from a pipe */
    CALL_LOOP = 2,    /* one of several calls of a loop */
    CALL_FIRST = 4,   /* the first of them */
    CALL_FEEDS = 8    /* what it says goes on into a pipe */
};

struct call {
    const struct dcmd *call_dcmd;
    addr_t call_addr; /* dot where none was given */
    uint64_t call_count;
    bool call_counted; /* ",count" was given */
    unsigned call_flags;
    int call_argc;
    char **call_argv; /* without the dcmd's name */
};

enum dcmd_flags {
    DCMD_HEAP = 1,    /* needs a heap */
    DCMD_FEEDS = 2,   /* can feed a pipe */
    DCMD_ADDRESS = 4, /* needs an address */
    DCMD_NONE = 8,    /* takes no address */
    DCMD_COUNTS = 16  /* does itself what ",count" says */
};

/* False after shell_error(). */
typedef bool dcmd_fn(struct shell *sh, const struct call *call);

struct dcmd {
    const char *dcmd_name; /* "findleaks", "$c", "/" */
    const char *dcmd_usage;
    const char *dcmd_summary; /* one line, without a full stop */
    const char *dcmd_help;    /* paragraphs for ::help, or NULL */
    const char *dcmd_example; /* command lines, which the manual has too and a test runs */
    dcmd_fn *dcmd_fn;
    unsigned dcmd_flags;
};

/* Whether a call is to print a heading: it is alone, or first of a loop. */
static inline bool
call_is_first(const struct call *call)
{
    return !(call->call_flags & CALL_LOOP) || (call->call_flags & CALL_FIRST);
}

static inline bool
call_has_address(const struct call *call)
{
    return (call->call_flags & CALL_ADDRESS) != 0;
}

static inline bool
call_feeds(const struct call *call)
{
    return (call->call_flags & CALL_FEEDS) != 0;
}

/* --- Walkers --- */

enum walk_start { WALK_ANYWHERE, WALK_FROM_ADDRESS, WALK_EITHER };

struct walk {
    const struct walker *walk_walker;
    bool walk_has_addr;
    addr_t walk_addr;
};

/* Adds what it finds to out.  False after shell_error(). */
typedef bool walk_fn(struct shell *sh, const struct walk *walk, struct addresses *out);

struct walker {
    const char *walker_name;
    const char *walker_descr;
    enum walk_start walker_start;
    bool walker_heap; /* needs a heap */
    walk_fn *walker_fn;
};

/* --- tables.c --- */

const struct dcmd *dcmd_find(const char *name);
const struct walker *walker_find(const char *name);
/* All of them by name, one a call of index 0, 1, ...; NULL past the end. */
const struct dcmd *dcmd_at(size_t index);
const struct walker *walker_at(size_t index);

/* Groups, ended by an empty row. */
extern const struct dcmd dcmds_basic[], dcmds_memory[], dcmds_threads[], dcmds_caches[],
    dcmds_bufctls[], dcmds_logs[], dcmds_arenas[], dcmds_leaks[], dcmds_whatis[], dcmds_walk[],
    dcmds_stackinfo[], dcmds_look[], dcmds_sizes[];
extern const struct walker walkers_caches[], walkers_bufctls[], walkers_arenas[], walkers_leaks[],
    walkers_threads[];

/* --- session.c --- */

/* stop: a live process stays stopped until the end.  False after one line on stderr. */
bool shell_open(struct shell *sh, const char *name, const struct target_options *options,
                bool stop);
/* The same on a target that is open, which shell_close() closes, and this where it fails. */
bool shell_open_on(struct shell *sh, const char *name, struct target *t);
void shell_close(struct shell *sh);
/* One line on stderr. */
void shell_complain(struct shell *sh, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same, as an expression that is always false: checkers see that, too. */
#define shell_error(...) (shell_complain(__VA_ARGS__), false)
/* False where the target has no heap, after saying why. */
bool shell_needs_heap(struct shell *sh, const char *name);
bool shell_set(struct shell *sh, const char *name, uint64_t value);
/* A variable's value, or a register's. */
bool shell_get(struct shell *sh, const char *name, uint64_t *value);
/* Evaluates a text that is an expression and nothing else; false after shell_error(). */
bool shell_value(struct shell *sh, const char *text, uint64_t *value);
/* A symbol's address: "malloc", "libc.so.6`malloc". */
bool shell_symbol(struct shell *sh, const char *name, uint64_t *value);
bool shell_read_word(struct shell *sh, addr_t addr, uint64_t *value);
/* Thread with this number, or NULL after shell_error(). */
const struct thread *shell_thread(struct shell *sh, addr_t tid);
/* The cache with this address, or NULL after shell_error(). */
struct heap_cache *shell_cache(struct shell *sh, addr_t addr);
/* That of the call's address, NULL where it has none: all.  False after shell_error(). */
bool shell_one_cache(struct shell *sh, const struct call *call, const struct heap_cache **cache);

#define SHELL_NAME_MAX 600
/* "malloc+0x12", "libc.so.6`malloc+0x12", or hexadecimal where nothing is known. */
const char *shell_name(struct shell *sh, addr_t addr, bool is_return, char *out);
/* The frames of a recorded stack, one a line, in the column where mdb has them. */
void shell_print_stack(struct shell *sh, uint32_t stack);
#define SHELL_STACK_COLUMN 17

/* --- run.c --- */

/* Runs a line: commands between semicolons.  False: one of them failed. */
bool shell_run(struct shell *sh, const char *line);
/* For a dcmd whose call feeds a pipe. */
bool shell_say_address(struct shell *sh, addr_t addr);
/* False: no memory, or interrupted. */
bool addresses_add(struct addresses *a, addr_t addr);
void addresses_fini(struct addresses *a);
/* Finds what a walker finds; false after shell_error(). */
bool shell_walk(struct shell *sh, const struct walk *walk, struct addresses *out);
/* Calls a dcmd for each of these addresses. */
bool shell_call_each(struct shell *sh, struct call *call, const struct addresses *addresses);

/* --- options.c --- */

enum dcmd_option_kind {
    DCMD_FLAG,  /* bool *: set true */
    DCMD_VALUE, /* uint64_t *: an expression */
    DCMD_TEXT   /* const char ** */
};

struct dcmd_option {
    char opt_letter; /* 0 ends the list */
    enum dcmd_option_kind opt_kind;
    void *opt_value;
    bool *opt_given; /* or NULL */
};

/*
 * Reads options, "-dv" as well as "-d -v"; *rest is the index of the first
 * operand.  More than max operands are an error; false after shell_error().
 */
bool dcmd_options(struct shell *sh, const struct call *call, const struct dcmd_option *options,
                  int max, int *rest);
/* The same for a dcmd that takes neither. */
bool dcmd_plain(struct shell *sh, const struct call *call);

/* --- cmd_*.c, shared between groups --- */

/* A row of ::bufctl -v with its stack; heading: the titles before it. */
bool shell_print_bufctl(struct shell *sh, addr_t bufctl, bool heading);
/* The bufctl of a block, or 0. */
addr_t shell_bufctl_of(struct shell *sh, addr_t buffer);
/* What an address is, on one line, without records. */
void shell_print_whatis(struct shell *sh, addr_t addr);
/* How many arenas an arena's memory comes through. */
unsigned shell_arena_depth(const struct heap *h, const struct heap_arena *arena);
void shell_leaks_free(struct shell *sh);

#endif
