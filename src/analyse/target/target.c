/* SPDX-License-Identifier: MIT */
/*
 * target.c - opens and closes targets and answers from their tables.
 *
 * Owns the tables of struct target: segments (memory whose contents we hold),
 * mappings, threads, reasons.  core.c and live.c fill them; after target_open
 * only target_copy adds to them.  Both tables are sorted by address and do not
 * overlap, so that a look-up is a binary search without any state, which makes
 * reads safe from several threads.
 */
#include "target/target_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool
target_complain(const struct target *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "umem: %s: ", t->t_name);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return false;
}

/* Without memory for the tables nothing sensible can be answered. */
static void *
must(void *p)
{
    if (p == NULL) {
        fputs("umem: out of memory\n", stderr);
        exit(2); /* COMMAND_TROUBLE; a live target is let go by the kernel */
    }
    return p;
}

char *
target_strdup(const char *s)
{
    return must(strdup(s));
}

void *
target_grow(void *array, size_t count, size_t size)
{
    /* Full whenever count is a power of two (or 0). */
    if ((count & (count - 1)) != 0)
        return array;
    return must(reallocarray(array, count == 0 ? 1 : count * 2, size));
}

void
target_add_reason(struct target *t, const char *fmt, ...)
{
    va_list ap;
    char *text;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        must(NULL);
    t->t_reasons = target_grow(t->t_reasons, t->t_reason_count, sizeof(char *));
    t->t_reasons[t->t_reason_count++] = text;
}

/* --- Mappings --- */

struct mapping *
target_add_mapping(struct target *t, addr_t start, addr_t end, unsigned flags, const char *name,
                   uint64_t offset)
{
    t->t_mappings = target_grow(t->t_mappings, t->t_mapping_count, sizeof(struct mapping));
    struct mapping *map = &t->t_mappings[t->t_mapping_count++];
    *map = (struct mapping){.map_start = start,
                            .map_end = end,
                            .map_flags = flags,
                            .map_name = target_strdup(name),
                            .map_offset = offset};
    return map;
}

static int
compare_mappings(const void *a, const void *b)
{
    const struct mapping *x = a;
    const struct mapping *y = b;
    return (x->map_start > y->map_start) - (x->map_start < y->map_start);
}

/* Sorts, and cuts what overlaps (a corrupt core): the lower mapping stays whole. */
void
target_sort_mappings(struct target *t)
{
    struct mapping *map = t->t_mappings;
    size_t kept = 0;
    if (t->t_mapping_count == 0)
        return;
    qsort(map, t->t_mapping_count, sizeof(*map), compare_mappings);
    for (size_t i = 0; i < t->t_mapping_count; i++) {
        struct mapping m = map[i];
        if (kept > 0 && m.map_start < map[kept - 1].map_end) {
            addr_t cut = map[kept - 1].map_end;
            if (m.map_end <= cut) {
                free((void *)(uintptr_t)m.map_name);
                continue;
            }
            m.map_offset += cut - m.map_start;
            m.map_start = cut;
        }
        map[kept++] = m;
    }
    t->t_mapping_count = kept;
}

const struct mapping *
target_mapping_of(const struct target *t, addr_t addr)
{
    size_t low = 0;
    size_t high = t->t_mapping_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->t_mappings[mid].map_end <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == t->t_mapping_count || t->t_mappings[low].map_start > addr)
        return NULL;
    return &t->t_mappings[low];
}

/* --- Segments --- */

void
target_add_segment(struct target *t, addr_t start, addr_t end, const void *data)
{
    if (start >= end)
        return;
    t->t_segments = target_grow(t->t_segments, t->t_segment_count, sizeof(struct segment));
    t->t_segments[t->t_segment_count++] = (struct segment){start, end, data};
}

static int
compare_segments(const void *a, const void *b)
{
    const struct segment *x = a;
    const struct segment *y = b;
    return (x->seg_start > y->seg_start) - (x->seg_start < y->seg_start);
}

/* Sorts, and cuts what overlaps (a corrupt core): the first segment keeps its bytes. */
void
target_sort_segments(struct target *t)
{
    struct segment *seg = t->t_segments;
    size_t kept = 0;
    if (t->t_segment_count == 0)
        return;
    qsort(seg, t->t_segment_count, sizeof(*seg), compare_segments);
    for (size_t i = 0; i < t->t_segment_count; i++) {
        struct segment s = seg[i];
        if (kept > 0 && s.seg_start < seg[kept - 1].seg_end) {
            addr_t cut = seg[kept - 1].seg_end;
            if (s.seg_end <= cut)
                continue;
            s.seg_data += cut - s.seg_start;
            s.seg_start = cut;
        }
        seg[kept++] = s;
    }
    t->t_segment_count = kept;
}

size_t
target_segment_index(const struct target *t, addr_t addr)
{
    size_t low = 0;
    size_t high = t->t_segment_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->t_segments[mid].seg_end <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* --- Reading --- */

size_t
target_read(struct target *t, addr_t addr, void *buf, size_t size)
{
    char *out = buf;
    size_t done = 0;
    size_t i = target_segment_index(t, addr);
    if (size > ~addr) /* not past the end of the address space */
        size = (size_t)~addr;
    while (done < size) {
        addr_t at = addr + done;
        size_t n = size - done;
        const struct segment *seg = i < t->t_segment_count ? &t->t_segments[i] : NULL;
        if (seg != NULL && seg->seg_start <= at) {
            if (n > seg->seg_end - at)
                n = (size_t)(seg->seg_end - at);
            memcpy(out + done, seg->seg_data + (at - seg->seg_start), n);
            i++;
        } else {
            if (!t->t_live)
                break;
            if (seg != NULL && n > seg->seg_start - at)
                n = (size_t)(seg->seg_start - at);
            size_t got = live_read(t, at, out + done, n);
            if (got < n)
                return done + got;
        }
        done += n;
    }
    return done;
}

bool
target_read_exact(struct target *t, addr_t addr, void *buf, size_t size)
{
    return target_read(t, addr, buf, size) == size;
}

addr_t
target_after_hole(const struct target *t, addr_t addr)
{
    size_t i = target_segment_index(t, addr);
    addr_t next = i < t->t_segment_count ? t->t_segments[i].seg_start : ~(addr_t)0;
    addr_t page = (addr | (TARGET_PAGE - 1)) + 1;
    if (page == 0) /* the last page of the address space */
        return ~(addr_t)0;
    return t->t_live && page < next ? page : next;
}

size_t
target_read_pages(struct target *t, addr_t addr, void *buf, size_t size)
{
    char *out = buf;
    size_t done = 0;
    size_t read = 0;
    if (size > ~addr) { /* there is nothing past the end of the address space */
        memset(out + (size_t)~addr, 0, size - (size_t)~addr);
        size = (size_t)~addr;
    }
    while (done < size) {
        size_t n = target_read(t, addr + done, out + done, size - done);
        done += n;
        read += n;
        if (done == size)
            break;
        addr_t skip = target_after_hole(t, addr + done) - (addr + done);
        if (skip > size - done)
            skip = size - done;
        memset(out + done, 0, (size_t)skip);
        done += (size_t)skip;
    }
    return read;
}

const void *
target_peek(struct target *t, addr_t addr, size_t size)
{
    size_t i = target_segment_index(t, addr);
    if (i == t->t_segment_count || t->t_segments[i].seg_start > addr)
        return NULL;
    const struct segment *seg = &t->t_segments[i];
    const unsigned char *p = seg->seg_data + (addr - seg->seg_start);
    /* Mappings split by mprotect are neighbours in the core's file, too. */
    for (; size > seg->seg_end - addr; seg++) {
        if (i + 1 == t->t_segment_count || seg[1].seg_start != seg->seg_end ||
            seg[1].seg_data != seg->seg_data + (seg->seg_end - seg->seg_start))
            return NULL;
        i++;
    }
    return p;
}

/* --- Opening --- */

/* A process id: digits only, no more than fit a pid_t. */
static pid_t
parse_pid(const char *name)
{
    char *end;
    if (name[0] < '0' || name[0] > '9')
        return -1;
    errno = 0;
    long n = strtol(name, &end, 10);
    if (*end != '\0')
        return -1;
    return errno != 0 || n > 0x7fffffff ? 0x7fffffff : (pid_t)n;
}

struct target *
target_create(const char *name)
{
    struct target *t = must(calloc(1, sizeof(*t)));
    elf_version(EV_CURRENT);
    t->t_name = target_strdup(name[0] != '\0' ? name : "''");
    t->t_file_serves = true;
    t->t_exe = target_strdup("");
    t->t_mem_fd = -1;
    t->t_pagemap_fd = -1;
    t->t_pid = parse_pid(name);
    t->t_mem_pid = t->t_pid;
    return t;
}

/* What is open, with its tables in order; else NULL, and it is closed. */
static struct target *
finish_target(struct target *t, bool ok)
{
    if (!ok) {
        target_close(t);
        return NULL;
    }
    target_sort_mappings(t);
    target_sort_segments(t);
    return t;
}

struct target *
target_open(const char *name, const struct target_options *options)
{
    struct target *t = target_create(name);
    t->t_opt_exe = options != NULL ? options->opt_exe : NULL;
    t->t_file_serves = options == NULL || !options->opt_process;
    t->t_live = t->t_pid >= 0;
    t->t_self = t->t_live && options != NULL && options->opt_self;
    if (t->t_self)
        t->t_live = false;
    return finish_target(t, t->t_self ? self_open(t) : t->t_live ? live_open(t) : core_open(t));
}

struct target *
target_open_image(const char *name, const void *image, size_t size)
{
    struct target *t = target_create(name);
    t->t_image = image;
    t->t_image_size = size;
    t->t_image_borrowed = true;
    return finish_target(t, core_open(t));
}

static void
close_modules(struct target *t)
{
    for (size_t i = 0; i < t->t_module_count; i++) {
        struct backing *back = &t->t_backings[i];
        if (back->back_data != NULL)
            munmap((void *)(uintptr_t)back->back_data, back->back_size);
        free(back->back_path);
        free((void *)(uintptr_t)t->t_modules[i].mod_path);
    }
    free(t->t_modules);
    free(t->t_backings);
}

void
target_close(struct target *t)
{
    if (t == NULL)
        return;
    helper_stop(t);
    if (t->t_live) {
        live_resume(t);
        fork_end(t);
        for (size_t i = 0; i < t->t_copy_count; i++)
            munmap(t->t_copies[i].copy_data, t->t_copies[i].copy_size);
        free(t->t_copies);
        if (t->t_mem_fd >= 0)
            close(t->t_mem_fd);
        if (t->t_pagemap_fd >= 0)
            close(t->t_pagemap_fd);
    }
    close_modules(t);
    for (size_t i = 0; i < t->t_mapping_count; i++)
        free((void *)(uintptr_t)t->t_mappings[i].map_name);
    for (size_t i = 0; i < t->t_thread_count; i++)
        free((void *)(uintptr_t)t->t_threads[i].thr_regs);
    for (size_t i = 0; i < t->t_reason_count; i++)
        free(t->t_reasons[i]);
    elf_end(t->t_elf);
    if (t->t_image != NULL && !t->t_image_borrowed)
        munmap((void *)(uintptr_t)t->t_image, t->t_image_size);
    free(t->t_mappings);
    free(t->t_segments);
    free(t->t_zeroes);
    free(t->t_threads);
    free(t->t_signals);
    free(t->t_reasons);
    free(t->t_exe);
    free(t->t_maps);
    free(t->t_name);
    free(t);
}

void
target_resume(struct target *t)
{
    if (!t->t_live)
        return;
    live_resume(t);
    fork_end(t);
}

/* --- Answers from the tables --- */

const char *
target_name(const struct target *t)
{
    return t->t_name;
}

bool
target_is_live(const struct target *t)
{
    return t->t_live;
}

bool
target_is_process(const struct target *t)
{
    return t->t_live || t->t_self;
}

pid_t
target_pid(const struct target *t)
{
    return t->t_pid;
}

const char *
target_executable(const struct target *t)
{
    return t->t_exe;
}

bool
target_is_complete(const struct target *t)
{
    return t->t_reason_count == 0;
}

const char *
target_incomplete_reason(const struct target *t, size_t index)
{
    return index < t->t_reason_count ? t->t_reasons[index] : NULL;
}

size_t
target_mappings(const struct target *t, const struct mapping **maps)
{
    *maps = t->t_mappings;
    return t->t_mapping_count;
}

size_t
target_modules(const struct target *t, const struct module **modules)
{
    *modules = t->t_modules;
    return t->t_module_count;
}

size_t
target_threads(const struct target *t, const struct thread **threads)
{
    *threads = t->t_threads;
    return t->t_thread_count;
}
