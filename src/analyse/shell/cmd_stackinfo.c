/* SPDX-License-Identifier: MIT */
/*
 * cmd_stackinfo.c - ::stackinfo: how much of their stacks threads use, and
 * have used where libstackalloc keeps a high-water mark.
 */
#include "shell/shell.h"

#include <inttypes.h>
#include <stdio.h>

#include "heap/stack_table.h"
#include "leaks/roots.h"

#define PERCENT 100

struct extent {
    addr_t start;
    uint64_t size;
    uint64_t used;
    const struct stack_row *row; /* of libstackalloc, or NULL */
};

static const struct stack_row *
row_of(const struct stack_table *table, addr_t sp)
{
    for (size_t i = 0; i < table->tab_count; i++)
        if (sp - table->tab_rows[i].row_base < table->tab_rows[i].row_size)
            return &table->tab_rows[i];
    return NULL;
}

/* Where a thread's stack lies: libstackalloc's word, libc's, or the mapping. */
static bool
find_extent(struct shell *sh, const struct thread *thr, const struct stack_table *table,
            struct extent *ext)
{
    const struct mapping *map = target_mapping_of(sh->sh_target, thr->thr_sp);
    struct stack_extent libc = {0};

    *ext = (struct extent){.row = row_of(table, thr->thr_sp)};
    if (sh->sh_has_heap)
        stack_of_tcb(&sh->sh_heap, thr->thr_fs_base, &libc);
    if (ext->row != NULL) {
        ext->start = ext->row->row_base;
        ext->size = ext->row->row_size;
    } else if (libc.ext_found && thr->thr_sp >= libc.ext_start && thr->thr_sp < libc.ext_end) {
        ext->start = libc.ext_start;
        ext->size = libc.ext_end - libc.ext_start;
    } else if (map != NULL) {
        ext->start = map->map_start;
        ext->size = map->map_end - map->map_start;
    } else {
        return false;
    }
    ext->used = ext->start + ext->size - thr->thr_sp;
    return true;
}

static void
print_row(struct shell *sh, int tid, const struct extent *ext)
{
    char name[SHELL_NAME_MAX] = "";
    char max[8] = "n/a";

    if (ext->row != NULL && ext->row->row_filled)
        snprintf(max, sizeof(max), "%u%%",
                 (unsigned)(PERCENT * ext->row->row_highwater / ext->size));
    if (ext->row != NULL && ext->row->row_start != 0)
        shell_name(sh, ext->row->row_start, false, name);
    printf("%10d %16" PRIx64 " %9" PRIx64 " %3u%% %4s", tid, ext->start, ext->size,
           (unsigned)(PERCENT * ext->used / ext->size), max);
    printf("%s%s%s%s\n", name[0] != '\0' ? " " : "", name,
           ext->row != NULL && ext->row->row_name[0] != '\0' ? " " : "",
           ext->row != NULL ? ext->row->row_name : "");
}

/* Stacks of libstackalloc that no thread is on. */
static void
print_others(struct shell *sh, const struct stack_table *table)
{
    for (size_t i = 0; i < table->tab_count; i++) {
        const struct stack_row *row = &table->tab_rows[i];
        const struct extent ext = {row->row_base, row->row_size, 0, row};
        if (row->row_depth == 0)
            print_row(sh, (int)row->row_thread, &ext);
    }
}

static bool
dcmd_stackinfo(struct shell *sh, const struct call *call)
{
    bool all = false;
    const struct dcmd_option options[] = {{'a', DCMD_FLAG, &all, NULL}, {0}};
    struct stack_table table = {0};
    const struct thread *threads;
    char why[SHELL_WHY_MAX];
    size_t n = target_threads(sh->sh_target, &threads);

    if (!dcmd_options(sh, call, options, 0, NULL))
        return false;
    if (call_has_address(call)) {
        threads = shell_thread(sh, call->call_addr);
        if (threads == NULL)
            return false;
        n = 1;
    }
    /* Without libstackalloc there are no marks, and the rest all the same. */
    stack_table_read(sh->sh_target, &table, why, sizeof(why));
    if (call_is_first(call))
        printf("%10s %16s %9s %4s %4s %s\n", "THREAD", "STACK", "SIZE", "CUR", "MAX", "START");
    for (size_t i = 0; i < n; i++) {
        struct extent ext;
        if (threads[i].thr_stopped && find_extent(sh, &threads[i], &table, &ext))
            print_row(sh, (int)threads[i].thr_tid, &ext);
    }
    if (all && !call_has_address(call))
        print_others(sh, &table);
    stack_table_fini(&table);
    return true;
}

const struct dcmd dcmds_stackinfo[] = {
    {"stackinfo", "[-a]", "how much of its stack each thread uses, and has used at most",
     "  SIZE is hexadecimal. MAX is the high-water mark, which libstackalloc keeps for stacks\n"
     "  that stack_watermark() was called for; n/a where there is none. An address before it is\n"
     "  a thread's number, 0t4711.\n"
     "    -a   also stacks of libstackalloc that no thread is on\n",
     "::stackinfo -a", dcmd_stackinfo, 0},
    {0}};
