/* SPDX-License-Identifier: MIT */
/*
 * top_report.c - see top_report.h.
 */
#include "report/top_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"

#define CACHE_COLUMN 24
#define PLACE_COLUMN 50
#define PLACE_COLUMN_MIN 16
/* What follows a place; and a cache up to its bytes, and each column behind that. */
#define PLACE_FIGURES 41
#define CACHE_FIGURES_MIN 65
#define RATE_COLUMN 10
#define MEMORY_COLUMN 9
#define ALLOCS_COLUMN 12
/* Lines round the rows of two tables: two of the head, headings and blanks, the cursor's own. */
#define FRAME_LINES 7
#define HEAD_COLUMNS 90 /* narrower, the head may take a line more */
#define BUCKETS 1024
/* Frames of a stack that are named; and the room for that. */
#define NAMED_FRAMES 4
#define NAME_SIZE 160

struct named {
    struct named *next;
    uint32_t stack;
    char text[NAME_SIZE];
};

struct place_names {
    struct named *bucket[BUCKETS];
};

struct place_names *
place_names_create(void)
{
    return calloc(1, sizeof(struct place_names));
}

void
place_names_destroy(struct place_names *names)
{
    for (size_t i = 0; names != NULL && i < BUCKETS; i++)
        for (struct named *named = names->bucket[i], *next; named != NULL; named = next) {
            next = named->next;
            free(named);
        }
    free(names);
}

const char *
place_names_get(struct place_names *names, struct heap *h, struct symboliser *s, uint32_t stack)
{
    struct named **bucket = &names->bucket[stack % BUCKETS];
    addr_t frames[NAMED_FRAMES];

    for (struct named *named = *bucket; named != NULL; named = named->next)
        if (named->stack == stack)
            return named->text;
    struct named *named = calloc(1, sizeof(*named));
    if (named == NULL)
        return "?";
    named->stack = stack;
    size_t n = heap_stack(h, stack, frames, NAMED_FRAMES);
    stack_line(s, frames, n, named->text, sizeof(named->text));
    named->next = *bucket;
    *bucket = named;
    return named->text;
}

/* "+12", "-3", "." for nothing; per second. */
static struct text
format_rate(int64_t change, double seconds)
{
    struct text out;
    double rate = seconds > 0 ? fabs((double)change) / seconds : 0;
    uint64_t whole = (uint64_t)(rate + 0.5);

    if (change == 0 || seconds <= 0)
        snprintf(out.s, sizeof(out.s), ".");
    else
        snprintf(out.s, sizeof(out.s), "%c%.40s", change > 0 ? '+' : '-',
                 whole > 0 ? format_count(whole).s : "0");
    return out;
}

static struct text
format_byte_rate(int64_t change, double seconds)
{
    struct text out;
    double rate = seconds > 0 ? fabs((double)change) / seconds : 0;

    if (change == 0 || seconds <= 0)
        snprintf(out.s, sizeof(out.s), ".");
    else
        snprintf(out.s, sizeof(out.s), "%c%.40s", change > 0 ? '+' : '-',
                 format_size((uint64_t)(rate + 0.5)).s);
    return out;
}

static void
print_head(const struct top_view *view, const struct top *top)
{
    const struct top_row *sum = &top->top_sum;
    char target[512];

    target_describe(view->tpv_heap->heap_target, target, sizeof(target));
    printf("%s%s%s: %s, %s of %s; stopped for %.1f ms\n", style_bold(view->tpv_color), target,
           style_end(view->tpv_color),
           format_plural(sum->row_buffers, "live buffer", "live buffers").s,
           format_size(sum->row_bytes).s, format_size(sum->row_memory).s, view->tpv_stopped_ms);
    if (view->tpv_seconds > 0)
        printf("each second: %s buffers, %s bytes, %s allocations\n",
               format_rate(sum->row_more_buffers, view->tpv_seconds).s,
               format_byte_rate(sum->row_more_bytes, view->tpv_seconds).s,
               format_rate(sum->row_more_allocs, view->tpv_seconds).s);
    incomplete_print(view->tpv_heap, view->tpv_color);
}

/* How many rows of the two tables there is room for, the first being shorter if it needs no more.
 */
static void
fit_rows(const struct top_view *view, const struct top *top, size_t *caches, size_t *sites)
{
    *caches =
        top->top_caches.top_count < view->tpv_rows ? top->top_caches.top_count : view->tpv_rows;
    *sites = top->top_sites.top_count < view->tpv_rows ? top->top_sites.top_count : view->tpv_rows;
    size_t frame = FRAME_LINES + (view->tpv_columns < HEAD_COLUMNS ? 1 : 0);
    if (view->tpv_lines == 0 || *caches + *sites + frame <= view->tpv_lines)
        return;
    size_t room = view->tpv_lines > frame + 2 ? view->tpv_lines - frame : 2;
    size_t half = room / 2;
    if (*sites < room - half)
        *caches = room - *sites;
    else if (*caches < half)
        *sites = room - *caches;
    else {
        *caches = half;
        *sites = room - half;
    }
}

/* Columns of the caches' table that a line has room for, the least wanted left out first. */
struct cache_columns {
    bool col_allocs;
    bool col_memory;
    bool col_byte_rate;
};

static struct cache_columns
fit_columns(const struct top_view *view)
{
    size_t room = view->tpv_columns == 0 ? SIZE_MAX : view->tpv_columns;
    return (struct cache_columns){
        .col_byte_rate = room >= CACHE_FIGURES_MIN + RATE_COLUMN,
        .col_memory = room >= CACHE_FIGURES_MIN + RATE_COLUMN + MEMORY_COLUMN,
        .col_allocs = room >= CACHE_FIGURES_MIN + RATE_COLUMN + MEMORY_COLUMN + ALLOCS_COLUMN};
}

/* A line of that table, of figures or of titles. */
static void
print_cache(const struct cache_columns *columns, const char *const texts[8])
{
    printf("%-*s %9s %11s %9s %8s", CACHE_COLUMN, texts[0], texts[1], texts[2], texts[3], texts[4]);
    if (columns->col_byte_rate)
        printf(" %*s", RATE_COLUMN - 1, texts[5]);
    if (columns->col_memory)
        printf(" %*s", MEMORY_COLUMN - 1, texts[6]);
    if (columns->col_allocs)
        printf(" %*s", ALLOCS_COLUMN - 1, texts[7]);
}

static void
print_caches(const struct top_view *view, const struct top_table *table, size_t rows)
{
    static const char *const titles[] = {"cache", "size",   "in use", "each s",
                                         "bytes", "each s", "memory", "allocs/s"};
    const struct cache_columns columns = fit_columns(view);

    printf("\n%s", style_bold(view->tpv_color));
    print_cache(&columns, titles);
    printf("%s\n", style_end(view->tpv_color));
    for (size_t i = 0; i < rows; i++) {
        const struct top_row *row = &table->top_rows[i];
        struct text size = format_count(row->row_bufsize), in_use = format_count(row->row_buffers),
                    more = format_rate(row->row_more_buffers, view->tpv_seconds),
                    bytes = format_size(row->row_bytes),
                    more_bytes = format_byte_rate(row->row_more_bytes, view->tpv_seconds),
                    memory = format_size(row->row_memory),
                    allocs = format_rate(row->row_more_allocs, view->tpv_seconds);
        const char *const texts[] = {row->row_cache, row->row_bufsize != 0 ? size.s : "-",
                                     in_use.s,       more.s,
                                     bytes.s,        more_bytes.s,
                                     memory.s,       allocs.s};
        print_cache(&columns, texts);
        putchar('\n');
    }
}

static void
print_sites(const struct top_view *view, const struct top_table *table, size_t rows)
{
    int place = PLACE_COLUMN;
    if (table->top_count == 0) {
        puts("\nwho allocates is known of programs under audit: 'umem run --audit -- PROGRAM'");
        return;
    }
    if (view->tpv_columns != 0) /* as wide as there is room for */
        place = view->tpv_columns < PLACE_FIGURES + PLACE_COLUMN_MIN
                    ? PLACE_COLUMN_MIN
                    : (int)view->tpv_columns - PLACE_FIGURES;
    printf("\n%s%-*s %11s %9s %8s %9s%s\n", style_bold(view->tpv_color), place, "allocated by",
           "in use", "each s", "bytes", "each s", style_end(view->tpv_color));
    for (size_t i = 0; i < rows; i++) {
        const struct top_row *row = &table->top_rows[i];
        printf("%-*.*s %11s %9s %8s %9s\n", place, place,
               place_names_get(view->tpv_names, view->tpv_heap, view->tpv_symbols, row->row_stack),
               format_count(row->row_buffers).s,
               format_rate(row->row_more_buffers, view->tpv_seconds).s,
               format_size(row->row_bytes).s,
               format_byte_rate(row->row_more_bytes, view->tpv_seconds).s);
    }
}

void
top_report_text(const struct top_view *view, const struct top *top)
{
    size_t caches;
    size_t sites;

    fit_rows(view, top, &caches, &sites);
    print_head(view, top);
    print_caches(view, &top->top_caches, caches);
    print_sites(view, &top->top_sites, sites);
}

static void
set_usage(json_t *out, const struct top_row *row)
{
    json_set_count(out, "buffers", row->row_buffers);
    json_set_count(out, "bytes", row->row_bytes);
    json_object_set_new(out, "more_buffers", json_integer(row->row_more_buffers));
    json_object_set_new(out, "more_bytes", json_integer(row->row_more_bytes));
}

static void
set_cache_usage(json_t *out, const struct top_row *row)
{
    set_usage(out, row);
    json_set_count(out, "memory", row->row_memory);
    json_set_count(out, "allocs", row->row_allocs);
    json_object_set_new(out, "more_allocs", json_integer(row->row_more_allocs));
}

void
top_report_json(const struct top_view *view, const struct top *top)
{
    json_t *out = json_begin(view->tpv_heap);
    json_t *total = json_object(), *caches = json_array(), *sites = json_array();
    addr_t frames[HEAP_STACK_MAX];

    for (size_t i = 0; i < top->top_caches.top_count; i++) {
        const struct top_row *row = &top->top_caches.top_rows[i];
        json_t *cache = json_object();
        json_set_text(cache, "name", row->row_cache);
        json_set_count(cache, "bufsize", row->row_bufsize);
        set_cache_usage(cache, row);
        json_array_append_new(caches, cache);
    }
    for (size_t i = 0; i < top->top_sites.top_count && i < view->tpv_rows; i++) {
        const struct top_row *row = &top->top_sites.top_rows[i];
        json_t *site = json_object();
        size_t n = heap_stack(view->tpv_heap, row->row_stack, frames, HEAP_STACK_MAX);
        json_set_text(site, "cache", row->row_cache);
        set_usage(site, row);
        json_object_set_new(site, "stack", stack_json(view->tpv_symbols, frames, n, false));
        json_array_append_new(sites, site);
    }
    set_cache_usage(total, &top->top_sum);
    json_object_set_new(out, "seconds", json_real(view->tpv_seconds));
    json_object_set_new(out, "stopped_ms", json_real(view->tpv_stopped_ms));
    json_object_set_new(out, "total", total);
    json_object_set_new(out, "caches", caches);
    json_object_set_new(out, "sites", sites);
    json_finish(out);
}
