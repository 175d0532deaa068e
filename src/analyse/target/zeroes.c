/* SPDX-License-Identifier: MIT */
/*
 * zeroes.c - where a target's memory is known to be zero without a look at it:
 * pages of a live process that do not exist, holes of shared memory and of a core
 * file.
 *
 * A program may map a terabyte and use a page of it.  To read all of it would
 * take minutes, and fill the memory with pages of zeroes.
 *
 * Owns the table of such runs in struct target, which grows while the target
 * is opened and copied, and is sorted when it is asked.
 */
#include "target/target_impl.h"

#include <stdlib.h>
#include <unistd.h>

/* Shorter runs are not worth an entry: to scan so much takes some microseconds. */
#define RUN_MIN ((addr_t)64 << 10)

void
zeroes_add(struct target *t, addr_t start, addr_t end)
{
    struct zero_run *last = t->t_zero_count > 0 ? &t->t_zeroes[t->t_zero_count - 1] : NULL;

    if (last != NULL && last->zero_end == start) {
        last->zero_end = end;
        return;
    }
    if (end <= start || end - start < RUN_MIN)
        return;
    t->t_zeroes = target_grow(t->t_zeroes, t->t_zero_count, sizeof(*t->t_zeroes));
    t->t_zeroes[t->t_zero_count++] = (struct zero_run){start, end};
}

static int
compare_runs(const void *a, const void *b)
{
    const struct zero_run *x = a;
    const struct zero_run *y = b;
    return (x->zero_start > y->zero_start) - (x->zero_start < y->zero_start);
}

void
zeroes_sort(struct target *t)
{
    if (t->t_zero_count > 0)
        qsort(t->t_zeroes, t->t_zero_count, sizeof(*t->t_zeroes), compare_runs);
}

void
zeroes_of_file(struct target *t, int fd)
{
    for (size_t i = 0; i < t->t_segment_count; i++) {
        const struct segment *seg = &t->t_segments[i];
        off_t base = (off_t)(seg->seg_data - t->t_image);
        off_t end = base + (off_t)(seg->seg_end - seg->seg_start);
        off_t hole = end - base < (off_t)RUN_MIN ? -1 : lseek(fd, base, SEEK_HOLE);
        while (hole >= 0 && hole < end) {
            off_t data = lseek(fd, hole, SEEK_DATA);
            if (data < 0 || data > end) /* there is none behind */
                data = end;
            zeroes_add(t, seg->seg_start + (addr_t)(hole - base),
                       seg->seg_start + (addr_t)(data - base));
            hole = data < end ? lseek(fd, data, SEEK_HOLE) : -1;
        }
    }
    zeroes_sort(t);
}

static void
note_run(void *arg, addr_t start, addr_t end, enum page kind)
{
    if (kind == PAGE_ZERO)
        zeroes_add(arg, start, end);
}

void
target_find_zeroes(struct target *t)
{
    const unsigned want = MAPPING_READ | MAPPING_WRITE;

    if (!t->t_live || t->t_zeroes_known || t->t_copy_count > 0)
        return;
    t->t_zeroes_known = true;
    for (size_t i = 0; i < t->t_mapping_count; i++) {
        const struct mapping *map = &t->t_mappings[i];
        enum page_rule rule = pages_rule(map);
        if ((map->map_flags & want) == want && map->map_end - map->map_start >= RUN_MIN &&
            rule != PAGES_MODIFIED)
            pages_walk(t, map->map_start, map->map_end, rule, note_run, t);
    }
    zeroes_sort(t);
}

bool
target_data(const struct target *t, addr_t addr, addr_t end, addr_t *start, addr_t *stop)
{
    size_t low = 0;
    size_t high = t->t_zero_count;

    *start = addr;
    *stop = end;
    if (addr >= end)
        return false;
    if (end - addr < RUN_MIN)
        return true;
    while (low < high) { /* the first run that ends above addr */
        size_t mid = low + (high - low) / 2;
        if (t->t_zeroes[mid].zero_end <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < t->t_zero_count && t->t_zeroes[low].zero_start <= *start; low++)
        if (t->t_zeroes[low].zero_end > *start)
            *start = t->t_zeroes[low].zero_end;
    if (low < t->t_zero_count && t->t_zeroes[low].zero_start < end)
        *stop = t->t_zeroes[low].zero_start;
    return *start < end;
}
