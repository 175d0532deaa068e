/* SPDX-License-Identifier: MIT */
/*
 * stack_table.c - walks the table of stacks: see stack_table.h.
 *
 * The table is a root of pointers to nodes of pointers to leaves of slots; the
 * layout block says how large each is and where in a slot the word stands.
 * What a target claims is believed within bounds only.
 */
#include "heap/stack_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "umem/layout.h"

#define BLOCK_SYMBOL "stack_layout"
#define BLOCK_MAGIC "stack layout 1\n"
/* The block has some 35 entries, nodes are 32 KiB, the root 64 KiB: beyond these it is damaged. */
#define ENTRIES_MAX 1024
#define NODE_MAX ((uint64_t)1 << 20)
#define ROWS_MIN 256
/* More stacks, or leaves of the table, than these, and it leads in a circle: 1 TiB of address
 * space. */
#define ROWS_MAX ((size_t)1 << 20)
#define LEAVES_MAX ((size_t)1 << 16)
#define WORD_BITS 64
#define PIECE_BYTES 4096 /* of a stack, read at once: its size is a multiple */

/* What the layout block says, read once. */
struct shape {
    uint64_t shp_slot_size;
    uint64_t shp_leaf_size;
    uint64_t shp_middle_size;
    uint64_t shp_leaf_bits;
    uint64_t shp_middle_bits;
    uint64_t shp_word; /* where in a slot the fields are */
    uint64_t shp_thread;
    uint64_t shp_start;
    uint64_t shp_name;
    uint64_t shp_name_size;
    uint64_t shp_state_mask; /* and of what the word consists */
    uint64_t shp_used;
    uint64_t shp_bare;
    uint64_t shp_class_mask;
    uint64_t shp_class_shift;
    uint64_t shp_size_shift;
    uint64_t shp_granule_shift;
    uint64_t shp_offset_mask;
    uint64_t shp_owned;
    uint64_t shp_filled;
    uint64_t shp_named;
    uint64_t shp_factor; /* of what stacks are filled with */
    uint64_t shp_ones;
};

struct walk {
    struct target *wk_target;
    struct umem_layout_entry *wk_entries;
    size_t wk_entry_count;
    size_t wk_word; /* bytes of a pointer */
    struct stack_table *wk_table;
    struct shape wk_shape;
    size_t wk_room;   /* rows that the table has memory for */
    size_t wk_leaves; /* read so far */
    bool wk_failed;   /* no memory, or a name is missing */
};

static const struct umem_layout_entry *
entry(struct walk *w, const char *name)
{
    static const struct umem_layout_entry none;
    for (size_t i = 0; i < w->wk_entry_count; i++)
        if (strcmp(w->wk_entries[i].entry_name, name) == 0)
            return &w->wk_entries[i];
    w->wk_failed = true;
    return &none;
}

static uint64_t
value(struct walk *w, const char *name)
{
    return entry(w, name)->entry_value;
}

static bool
take_first(void *arg, const struct module *mod, addr_t addr)
{
    (void)mod;
    *(addr_t *)arg = addr;
    return false;
}

static bool
read_block(struct walk *w)
{
    struct umem_layout_block head;
    addr_t at = 0;
    target_find_symbol(w->wk_target, BLOCK_SYMBOL, take_first, &at);
    if (at == 0 || !target_read_exact(w->wk_target, at, &head, sizeof(head)) ||
        memcmp(head.layout_magic, BLOCK_MAGIC, sizeof(BLOCK_MAGIC)) != 0 ||
        head.layout_version != UMEM_LAYOUT_VERSION ||
        head.layout_entry_size != sizeof(struct umem_layout_entry) ||
        head.layout_entry_count > ENTRIES_MAX ||
        (head.layout_pointer_size != 4 && head.layout_pointer_size != 8))
        return false;
    size_t size = head.layout_entry_count * sizeof(struct umem_layout_entry);
    w->wk_entries = calloc(head.layout_entry_count, sizeof(struct umem_layout_entry));
    w->wk_entry_count = head.layout_entry_count;
    w->wk_word = head.layout_pointer_size;
    if (w->wk_entries == NULL ||
        !target_read_exact(w->wk_target, at + sizeof(head), w->wk_entries, size))
        return false;
    for (size_t i = 0; i < w->wk_entry_count; i++)
        w->wk_entries[i].entry_name[sizeof(w->wk_entries[i].entry_name) - 1] = '\0';
    return true;
}

/* Whether a field lies in a slot. */
static bool
fits(const struct shape *s, uint64_t field, uint64_t size)
{
    return size <= s->shp_slot_size && field <= s->shp_slot_size - size;
}

static bool
shape_is_sane(const struct shape *s, size_t word)
{
    return fits(s, s->shp_word, sizeof(uint32_t)) && fits(s, s->shp_thread, sizeof(uint32_t)) &&
           fits(s, s->shp_start, word) && fits(s, s->shp_name, s->shp_name_size) &&
           s->shp_leaf_bits < WORD_BITS && s->shp_middle_bits < WORD_BITS &&
           s->shp_class_shift < WORD_BITS && s->shp_granule_shift < WORD_BITS;
}

static void
read_shape(struct walk *w)
{
    w->wk_shape = (struct shape){
        .shp_slot_size = entry(w, "table_slot")->entry_size,
        .shp_leaf_size = entry(w, "table_leaf")->entry_size,
        .shp_middle_size = entry(w, "table_middle")->entry_size,
        .shp_leaf_bits = value(w, "TABLE_LEAF_BITS"),
        .shp_middle_bits = value(w, "TABLE_MIDDLE_BITS"),
        .shp_word = value(w, "table_slot.slot_word"),
        .shp_thread = value(w, "table_slot.slot_thread"),
        .shp_start = value(w, "table_slot.slot_start"),
        .shp_name = value(w, "table_slot.slot_name"),
        .shp_name_size = entry(w, "table_slot.slot_name")->entry_size,
        .shp_state_mask = value(w, "TABLE_STATE_MASK"),
        .shp_used = value(w, "STACK_USED"),
        .shp_bare = value(w, "STACK_BARE"),
        .shp_class_mask = value(w, "TABLE_CLASS_MASK"),
        .shp_class_shift = value(w, "TABLE_CLASS_SHIFT"),
        .shp_size_shift = value(w, "STACK_SIZE_SHIFT_MIN"),
        .shp_granule_shift = value(w, "TABLE_GRANULE_SHIFT"),
        .shp_offset_mask = value(w, "TABLE_OFFSET_MASK"),
        .shp_owned = value(w, "TABLE_OWNED"),
        .shp_filled = value(w, "TABLE_FILLED"),
        .shp_named = value(w, "TABLE_NAMED"),
        .shp_factor = value(w, "TABLE_PATTERN_FACTOR"),
        .shp_ones = value(w, "TABLE_PATTERN_ONES"),
    };
    w->wk_failed = w->wk_failed || !shape_is_sane(&w->wk_shape, w->wk_word);
}

static uint64_t
word_at(const unsigned char *data, size_t bytes)
{
    uint64_t wide = 0; /* little-endian, as the hosts that this reads are */
    memcpy(&wide, data, bytes);
    return wide;
}

static struct stack_row *
new_row(struct walk *w)
{
    struct stack_table *table = w->wk_table;
    if (table->tab_count == ROWS_MAX) {
        w->wk_failed = true;
        return NULL;
    }
    if (table->tab_count == w->wk_room) {
        size_t room = w->wk_room != 0 ? 2 * w->wk_room : ROWS_MIN;
        struct stack_row *more = realloc(table->tab_rows, room * sizeof(*more));
        if (more == NULL) {
            w->wk_failed = true;
            return NULL;
        }
        table->tab_rows = more;
        w->wk_room = room;
    }
    struct stack_row *row = &table->tab_rows[table->tab_count++];
    memset(row, 0, sizeof(*row));
    return row;
}

/* The lowest byte that is not what the stack was filled with: see stack_highwater(3). */
static void
read_filled(struct walk *w, struct stack_row *row)
{
    uint64_t factor = w->wk_shape.shp_factor, ones = w->wk_shape.shp_ones;
    unsigned char piece[PIECE_BYTES];
    for (uint64_t done = 0; !w->wk_failed && done < row->row_size; done += sizeof(piece)) {
        if (!target_read_exact(w->wk_target, row->row_base + done, piece, sizeof(piece)))
            return;
        for (size_t i = 0; i < sizeof(piece); i++) {
            uint64_t pattern = (row->row_base + done + i) / sizeof(pattern) * factor | ones;
            if (piece[i] == (unsigned char)(pattern >> i % sizeof(pattern) * 8))
                continue;
            row->row_highwater = row->row_size - done - i;
            row->row_filled = true;
            return;
        }
    }
    row->row_highwater = 0;
    row->row_filled = true;
}

static void
read_slot(struct walk *w, const unsigned char *slot, uint64_t granule)
{
    const struct shape *s = &w->wk_shape;
    uint64_t word = word_at(slot + s->shp_word, sizeof(uint32_t));
    uint64_t state = word & s->shp_state_mask;
    uint64_t size_shift = s->shp_size_shift + ((word & s->shp_class_mask) >> s->shp_class_shift);
    if (state == 0 || size_shift >= WORD_BITS || w->wk_failed)
        return;
    struct stack_row *row = new_row(w);
    if (row == NULL)
        return;
    row->row_base = (granule << s->shp_granule_shift) + (word & s->shp_offset_mask);
    row->row_size = (uint64_t)1 << size_shift;
    row->row_used = state == s->shp_used;
    row->row_cold = state == s->shp_bare;
    if (word & s->shp_owned) {
        row->row_thread = (pid_t)word_at(slot + s->shp_thread, sizeof(uint32_t));
        row->row_start = word_at(slot + s->shp_start, w->wk_word);
    }
    /* What holds no memory was not used, since the stack was built. */
    row->row_highwater =
        row->row_base + row->row_size -
        target_first_page(w->wk_target, row->row_base, row->row_base + row->row_size);
    if (word & s->shp_filled)
        read_filled(w, row);
    if (word & s->shp_named && s->shp_name_size < STACK_ROW_NAME)
        memcpy(row->row_name, slot + s->shp_name, s->shp_name_size);
}

/* A node of the table whole, or NULL. */
static unsigned char *
read_node(struct walk *w, addr_t addr, uint64_t size)
{
    unsigned char *data = size <= NODE_MAX ? malloc(size) : NULL;
    if (data != NULL && !target_read_exact(w->wk_target, addr, data, size)) {
        free(data);
        return NULL;
    }
    return data;
}

static void
read_leaf(struct walk *w, addr_t addr, uint64_t granule)
{
    uint64_t size = w->wk_shape.shp_leaf_size;
    uint64_t slot = w->wk_shape.shp_slot_size;
    if (w->wk_leaves++ == LEAVES_MAX)
        w->wk_failed = true;
    unsigned char *leaf = !w->wk_failed ? read_node(w, addr, size) : NULL;
    for (uint64_t i = 0; leaf != NULL && slot != 0 && (i + 1) * slot <= size; i++)
        read_slot(w, leaf + i * slot, granule + i);
    free(leaf);
}

static void
read_middle(struct walk *w, addr_t addr, uint64_t top)
{
    const struct shape *s = &w->wk_shape;
    uint64_t size = s->shp_middle_size;
    unsigned char *middle = read_node(w, addr, size);
    for (uint64_t i = 0; middle != NULL && !w->wk_failed && (i + 1) * w->wk_word <= size; i++) {
        addr_t leaf = word_at(middle + i * w->wk_word, w->wk_word);
        if (leaf != 0)
            read_leaf(w, leaf, (top << s->shp_middle_bits | i) << s->shp_leaf_bits);
    }
    free(middle);
}

/* Which threads are on which stacks now. */
static void
find_threads(struct walk *w)
{
    const struct thread *threads;
    size_t n = target_threads(w->wk_target, &threads);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; threads[i].thr_stopped && k < w->wk_table->tab_count; k++) {
            struct stack_row *row = &w->wk_table->tab_rows[k];
            if (threads[i].thr_sp - row->row_base > row->row_size)
                continue;
            row->row_depth = row->row_base + row->row_size - threads[i].thr_sp;
            /* Deeper than the last byte that was written: a frame with an array, say. */
            if (row->row_depth > row->row_highwater)
                row->row_highwater = row->row_depth;
            if (row->row_thread != threads[i].thr_tid)
                row->row_start = 0; /* a fiber's, or nobody said */
            row->row_thread = threads[i].thr_tid;
        }
}

bool
stack_table_read(struct target *t, struct stack_table *table, char *why, size_t size)
{
    struct walk w = {.wk_target = t, .wk_table = table};
    *table = (struct stack_table){NULL, 0};
    bool ok = read_block(&w);
    if (ok)
        read_shape(&w);
    if (ok && !w.wk_failed) {
        const struct umem_layout_entry *root = entry(&w, "table_root");
        unsigned char *data = read_node(&w, root->entry_value, root->entry_size);
        ok = data != NULL;
        for (uint64_t i = 0; ok && !w.wk_failed && (i + 1) * w.wk_word <= root->entry_size; i++) {
            addr_t middle = word_at(data + i * w.wk_word, w.wk_word);
            if (middle != 0)
                read_middle(&w, middle, i);
        }
        free(data);
        find_threads(&w);
    }
    free(w.wk_entries);
    if (ok && !w.wk_failed)
        return true;
    snprintf(why, size, "%s",
             ok ? "the table of stacks is of another release, or damaged"
                : "no libstackalloc in it that can be read; its manual: man libstackalloc");
    stack_table_fini(table);
    return false;
}

void
stack_table_fini(struct stack_table *table)
{
    free(table->tab_rows);
    *table = (struct stack_table){NULL, 0};
}
