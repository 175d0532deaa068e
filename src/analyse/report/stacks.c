/* SPDX-License-Identifier: MIT */
/*
 * stacks.c - see stacks.h.
 */
#include "report/stacks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/format.h"

/* Inlined functions at one address that are told; more are left out. */
#define INLINED_MAX 16
#define BUCKETS 4096
/* Function names are padded to the longest of the stack, up to this. */
#define NAME_COLUMN_MAX 44
#define VTABLE_PREFIX "vtable for "

struct entry { /* one address, looked up */
    struct entry *next;
    addr_t addr;
    bool is_return;
    size_t count;
    struct symbol symbol[]; /* innermost inlined function first */
};

struct symboliser {
    struct target *target;
    struct entry *bucket[BUCKETS];
    struct symbol vtable;
};

struct symboliser *
symboliser_create(struct target *t)
{
    struct symboliser *s = calloc(1, sizeof(*s));
    if (s != NULL)
        s->target = t;
    return s;
}

void
symboliser_destroy(struct symboliser *s)
{
    for (size_t i = 0; s != NULL && i < BUCKETS; i++) {
        struct entry *next;
        for (struct entry *e = s->bucket[i]; e != NULL; e = next) {
            next = e->next;
            free(e);
        }
    }
    free(s);
}

static const struct entry *
look_up(struct symboliser *s, addr_t addr, bool is_return)
{
    struct entry **bucket = &s->bucket[(addr ^ addr >> 12 ^ addr >> 24) % BUCKETS];
    struct entry *e = *bucket;

    for (; e != NULL; e = e->next)
        if (e->addr == addr && e->is_return == is_return)
            return e;
    struct symbol *symbols = calloc(INLINED_MAX, sizeof(*symbols));
    if (symbols == NULL)
        return NULL;
    size_t count = target_symbolise(s->target, addr, is_return, symbols, INLINED_MAX);
    if (count == 0)
        count = 1;                     /* an empty record: only the address is known */
    for (size_t i = 0; i < count; i++) /* "memcpy@@GLIBC_2.14": the version tells nobody anything */
        symbols[i].sym_function[strcspn(symbols[i].sym_function, "@")] = '\0';
    e = malloc(sizeof(*e) + count * sizeof(e->symbol[0]));
    if (e != NULL) {
        e->next = *bucket;
        e->addr = addr;
        e->is_return = is_return;
        e->count = count;
        memcpy(e->symbol, symbols, count * sizeof(e->symbol[0]));
        *bucket = e;
    }
    free(symbols);
    return e;
}

size_t
symboliser_look_up(struct symboliser *s, addr_t addr, bool is_return, const struct symbol **symbols)
{
    const struct entry *e = look_up(s, addr, is_return);
    *symbols = e != NULL ? e->symbol : NULL;
    return e != NULL ? e->count : 0;
}

/* "leak_small+0x1d", "prog+0x113d", "0x55d0c0de". */
static int
name_text(const struct symbol *sym, addr_t addr, char *out, size_t size)
{
    if (sym->sym_function[0] != '\0')
        return sym->sym_inlined
                   ? snprintf(out, size, "%s (inlined)", sym->sym_function)
                   : snprintf(out, size, "%s+0x%" PRIx64, sym->sym_function, sym->sym_offset);
    if (sym->sym_module[0] != '\0')
        return snprintf(out, size, "%s+0x%" PRIx64, sym->sym_module, sym->sym_offset);
    return snprintf(out, size, "0x%" PRIx64, addr);
}

static int
name_column(struct symboliser *s, const addr_t *frames, size_t count, bool first_is_pc)
{
    int width = 0;
    for (size_t i = 0; i < count; i++) {
        const struct entry *e = look_up(s, frames[i], i > 0 || !first_is_pc);
        for (size_t k = 0; e != NULL && k < e->count; k++) {
            char name[320];
            int n = name_text(&e->symbol[k], e->addr, name, sizeof(name));
            if (n > width && n <= NAME_COLUMN_MAX)
                width = n;
        }
    }
    return width;
}

static void
print_frame(const struct symbol *sym, addr_t addr, int indent, int width, bool color)
{
    char name[320];
    name_text(sym, addr, name, sizeof(name));
    if (sym->sym_file[0] != '\0')
        printf("%*s%-*s  %s%s:%d%s\n", indent, "", width, name, style_bold(color), sym->sym_file,
               sym->sym_line, style_end(color));
    else if (sym->sym_function[0] != '\0' && sym->sym_module[0] != '\0')
        printf("%*s%-*s  %s%s%s\n", indent, "", width, name, style_dim(color), sym->sym_module,
               style_end(color));
    else
        printf("%*s%s\n", indent, "", name);
}

void
stack_print(struct symboliser *s, const addr_t *frames, size_t count, bool first_is_pc, int indent,
            bool color)
{
    int width = name_column(s, frames, count, first_is_pc);
    for (size_t i = 0; i < count; i++) {
        const struct entry *e = look_up(s, frames[i], i > 0 || !first_is_pc);
        for (size_t k = 0; e != NULL && k < e->count; k++)
            print_frame(&e->symbol[k], e->addr, indent, width, color);
    }
}

static json_t *
text_or_null(const char *text)
{
    json_t *value = text[0] != '\0' ? json_string(text) : NULL;
    return value != NULL ? value : json_null(); /* names that are no UTF-8 are unknown too */
}

static json_t *
frame_json(const struct symbol *sym, addr_t addr)
{
    char hex[24];
    snprintf(hex, sizeof(hex), "0x%" PRIx64, addr);
    json_t *frame = json_object();
    json_object_set_new(frame, "address", json_string(hex));
    json_object_set_new(frame, "function", text_or_null(sym->sym_function));
    json_object_set_new(frame, "module", text_or_null(sym->sym_module));
    json_object_set_new(frame, "offset", json_integer((json_int_t)sym->sym_offset));
    json_object_set_new(frame, "file", text_or_null(sym->sym_file));
    json_object_set_new(frame, "line",
                        sym->sym_file[0] != '\0' ? json_integer(sym->sym_line) : json_null());
    if (sym->sym_inlined)
        json_object_set_new(frame, "inlined", json_true());
    return frame;
}

json_t *
stack_json(struct symboliser *s, const addr_t *frames, size_t count, bool first_is_pc)
{
    json_t *stack = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct entry *e = look_up(s, frames[i], i > 0 || !first_is_pc);
        for (size_t k = 0; e != NULL && k < e->count; k++)
            json_array_append_new(stack, frame_json(&e->symbol[k], e->addr));
    }
    return stack;
}

const struct symbol *
symboliser_symbol(struct symboliser *s, addr_t addr, bool is_return)
{
    const struct entry *e = look_up(s, addr, is_return);
    return e != NULL ? &e->symbol[e->count - 1] : NULL;
}

void
stack_line(struct symboliser *s, const addr_t *frames, size_t count, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < count && at < size; i++) {
        const struct entry *e = look_up(s, frames[i], true);
        for (size_t k = 0; e != NULL && k < e->count && at < size; k++) {
            char name[320];
            if (e->symbol[k].sym_function[0] != '\0')
                snprintf(name, sizeof(name), "%s", e->symbol[k].sym_function);
            else
                name_text(&e->symbol[k], e->addr, name, sizeof(name));
            at += (size_t)snprintf(out + at, size - at, "%s%s", at > 0 ? " < " : "", name);
        }
    }
}

const char *
symboliser_vtable(struct symboliser *s, addr_t addr)
{
    const struct mapping *map = target_mapping_of(s->target, addr);
    if (addr % 4 != 0 || map == NULL || map->map_name[0] != '/')
        return "";
    if (target_symbolise(s->target, addr, false, &s->vtable, 1) == 0 ||
        strncmp(s->vtable.sym_function, VTABLE_PREFIX, strlen(VTABLE_PREFIX)) != 0)
        return "";
    return s->vtable.sym_function;
}
