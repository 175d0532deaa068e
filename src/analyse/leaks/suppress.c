/* SPDX-License-Identifier: MIT */
/*
 * suppress.c - see suppress.h.
 *
 * Looking up names is what takes time, so each address is looked up once, and
 * each stack is put together once.  Where memory for remembering is out it is
 * done again.
 */
#include "leaks/suppress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"
#include "leaks/mark.h"

#define KEYWORD "leak:"
#define BLANKS " \t\r\n\v\f"
/* Functions inlined into one another at one address that are looked at. */
#define INLINED_MAX 16
#define VERDICTS_FIRST 1024

/* --- Patterns --- */

bool
suppression_fits(const char *pattern, const char *name)
{
    bool front = pattern[0] == '^';
    const char *p = pattern + front;
    const char *end = p + strlen(p);
    bool back = end > p && end[-1] == '$';
    const char *star = front ? NULL : p; /* what follows the last star, and where it was tried */
    const char *tried = name;

    end -= back;
    if (name[0] == '\0')
        return false;
    for (;;) {
        if (p == end && (!back || *name == '\0'))
            return true;
        if (p < end && *p == '*') {
            star = ++p;
            tried = name;
        } else if (p < end && *name != '\0' && *p == *name) {
            p++;
            name++;
        } else if (star != NULL && *tried != '\0') {
            p = star;
            name = ++tried;
        } else {
            return false;
        }
    }
}

/* --- Files --- */

/* The pattern of a line, "" for a comment, NULL where it is neither. */
static char *
line_pattern(char *line, size_t size)
{
    if (strlen(line) != size)
        return NULL; /* a zero byte: no text */
    while (size > 0 && strchr(BLANKS, line[size - 1]) != NULL)
        line[--size] = '\0';
    line += strspn(line, BLANKS);
    if (line[0] == '\0' || line[0] == '#')
        return line + strlen(line);
    if (strncmp(line, KEYWORD, strlen(KEYWORD)) != 0)
        return NULL;
    line += strlen(KEYWORD);
    line += strspn(line, BLANKS);
    return line[strspn(line, "^$")] != '\0' ? line : NULL; /* what fits all is to be said: "*" */
}

static bool
add_line(struct suppressions *s, const char *file, unsigned line, const char *pattern)
{
    char *copy = strdup(pattern);
    if (copy == NULL || !memory_grow(&s->list, &s->room, s->count, sizeof(*s->list))) {
        free(copy);
        return false;
    }
    s->list[s->count++] = (struct suppression){copy, file, line, 0, 0};
    /* cppcheck-suppress memleak; it is in the list */
    return true;
}

static bool
read_lines(struct suppressions *s, const char *file, FILE *f, char *why, size_t size)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    bool ok = true;

    errno = 0;
    for (unsigned number = 1; ok && (n = getline(&line, &room, f)) >= 0; number++) {
        const char *pattern = line_pattern(line, (size_t)n);
        ok = pattern != NULL && (pattern[0] == '\0' || add_line(s, file, number, pattern));
        if (pattern == NULL)
            snprintf(why, size, "%s:%u: a line is leak:PATTERN, or a comment after #", file,
                     number);
        else if (!ok)
            snprintf(why, size, "%s: no memory for its lines", file);
    }
    if (ok && !feof(f)) { /* of a folder, say */
        snprintf(why, size, "%s: %s", file, strerror(errno));
        ok = false;
    }
    free(line);
    return ok;
}

bool
suppressions_read(struct suppressions *s, const char *file, char *why, size_t size)
{
    FILE *f = fopen(file, "re");
    if (f == NULL) {
        snprintf(why, size, "%s: %s; give a file of lines leak:PATTERN", file, strerror(errno));
        return false;
    }
    bool ok = read_lines(s, file, f, why, size);
    fclose(f);
    return ok;
}

void
suppressions_fini(struct suppressions *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->list[i].sup_pattern);
    free(s->list);
    free(s->stacks.list);
    free(s->addresses.list);
    *s = (struct suppressions){0};
}

/* --- Verdicts --- */

/* The slot of a key, or the free one where it belongs; NULL: the table is empty. */
static struct verdict *
find_slot(const struct verdicts *v, uint64_t key)
{
    size_t i = (size_t)(key * 0x9e3779b97f4a7c15ULL >> 32); /* 2^64 / golden ratio */

    if (v->room == 0)
        return NULL;
    while (v->list[i & (v->room - 1)].ver_key != 0 && v->list[i & (v->room - 1)].ver_key != key)
        i++;
    return &v->list[i & (v->room - 1)];
}

static bool
find_verdict(const struct verdicts *v, uint64_t key, uint32_t *line)
{
    const struct verdict *slot = find_slot(v, key);
    if (slot == NULL || slot->ver_key == 0)
        return false;
    *line = slot->ver_line;
    return true;
}

/* There is room. */
static void
put_verdict(struct verdicts *v, struct verdict verdict)
{
    struct verdict *slot = find_slot(v, verdict.ver_key);

    if (slot != NULL)
        *slot = verdict;
}

static void
keep_verdict(struct verdicts *v, uint64_t key, uint32_t line)
{
    if (2 * v->count >= v->room) {
        struct verdicts larger = {.room = v->room == 0 ? VERDICTS_FIRST : 2 * v->room};
        larger.list = calloc(larger.room, sizeof(*larger.list));
        if (larger.list == NULL)
            return;
        for (size_t i = 0; i < v->room; i++)
            if (v->list[i].ver_key != 0)
                put_verdict(&larger, v->list[i]);
        larger.count = v->count;
        free(v->list);
        *v = larger;
    }
    put_verdict(v, (struct verdict){key, line});
    v->count++;
}

static const char *
module_path(struct target *t, addr_t addr)
{
    const struct module *modules;
    size_t n = target_modules(t, &modules);
    for (size_t i = 0; i < n; i++)
        if (addr >= modules[i].mod_start && addr < modules[i].mod_end)
            return modules[i].mod_path;
    return "";
}

/* The first line that fits a name of the frame that returns to addr. */
static uint32_t
line_of_address(struct suppressions *s, struct target *t, addr_t addr)
{
    struct symbol symbols[INLINED_MAX];
    uint32_t line;

    if (find_verdict(&s->addresses, addr, &line))
        return line;
    const char *module = module_path(t, addr - 1);
    size_t n = target_symbolise(t, addr, true, symbols, INLINED_MAX);
    for (line = 1; line <= s->count; line++) {
        const char *pattern = s->list[line - 1].sup_pattern;
        bool fits = suppression_fits(pattern, module);
        for (size_t i = 0; !fits && i < n; i++)
            fits = suppression_fits(pattern, symbols[i].sym_function) ||
                   suppression_fits(pattern, symbols[i].sym_file);
        if (fits)
            break;
    }
    if (line > s->count)
        line = 0;
    keep_verdict(&s->addresses, addr, line);
    return line;
}

static uint32_t
line_of_stack(struct suppressions *s, struct heap *h, uint32_t stack)
{
    addr_t frames[HEAP_STACK_MAX];
    uint32_t line;

    if (stack == 0)
        return 0;
    if (find_verdict(&s->stacks, stack, &line))
        return line;
    size_t depth = heap_stack(h, stack, frames, HEAP_STACK_MAX);
    line = 0;
    for (size_t i = 0; i < depth; i++) {
        uint32_t other = frames[i] != 0 ? line_of_address(s, h->heap_target, frames[i]) : 0;
        if (other != 0 && (line == 0 || other < line))
            line = other;
    }
    keep_verdict(&s->stacks, stack, line);
    return line;
}

/* --- Blocks --- */

/* The line that fits the stack that allocated a block; NULL: none does. */
static struct suppression *
line_of_block(struct suppressions *s, struct heap *h, struct block b)
{
    struct block_info info;
    heap_block_info(h, b, &info);
    uint32_t line = info.blk_audited ? line_of_stack(s, h, info.blk_stack) : 0;
    return line != 0 ? &s->list[line - 1] : NULL;
}

static void
count_in(struct suppression *line, struct heap *h, struct block b)
{
    struct block_info info;
    heap_block_info(h, b, &info);
    line->sup_count++;
    line->sup_bytes += info.blk_size;
}

bool
suppressions_take(struct suppressions *s, struct heap *h, struct block b)
{
    struct suppression *line = line_of_block(s, h, b);
    if (line != NULL)
        count_in(line, h, b);
    return line != NULL;
}

struct taken {
    struct block tak_block;
    struct suppression *tak_line;
};

struct apply {
    struct heap *h;
    uint64_t *leaked;
    struct taken *list; /* those from the one in hand on are still to be looked into */
    size_t count;
    size_t room;
    struct suppression *line; /* of the one in hand */
    bool failed;
};

static void
add_taken(struct apply *a, struct block b, struct suppression *line)
{
    bit_clear(a->leaked, heap_block_number(a->h, b));
    if (memory_grow(&a->list, &a->room, a->count, sizeof(*a->list)))
        a->list[a->count++] = (struct taken){b, line};
    else
        a->failed = true;
}

static bool
follow(void *arg, addr_t at, addr_t value)
{
    struct apply *a = arg;
    struct block b;
    (void)at;
    if (heap_find(a->h, value, &b) && bit_get(a->leaked, heap_block_number(a->h, b)))
        add_taken(a, b, a->line);
    return true;
}

/* First every block that a line fits by its own stack; then what hangs on them. */
int
suppressions_apply(struct suppressions *s, struct heap *h, uint64_t *leaked)
{
    struct apply a = {.h = h, .leaked = leaked};

    for (uint32_t r = 0; r < h->heap_region_count; r++) {
        const struct region *region = &h->heap_regions[r];
        for (uint32_t i = 0; i < region->region_blocks; i++) {
            struct suppression *line = bit_get(leaked, region->region_first + i)
                                           ? line_of_block(s, h, (struct block){r, i})
                                           : NULL;
            if (line != NULL)
                add_taken(&a, (struct block){r, i}, line);
        }
    }
    for (size_t i = 0; i < a.count && !a.failed; i++) {
        struct block b = a.list[i].tak_block;
        addr_t start = heap_block_addr(h, b);
        a.line = a.list[i].tak_line;
        count_in(a.line, h, b);
        scan_words(h, start, start + heap_block_scan(h, b), follow, &a);
    }
    free(a.list);
    return a.failed ? -1 : 0;
}
