/* SPDX-License-Identifier: MIT */
/*
 * layout.c - fills the layout block (layout.h) from offsetof and sizeof, so
 * that it cannot drift from the structures.  Nothing in the library reads it.
 * It is not constant: every kind of core file holds writable data.
 */
#include "layout.h"

#include "table.h"

#define STRUCT(type)                                                                               \
    {                                                                                              \
        .entry_name = #type, .entry_kind = UMEM_LAYOUT_STRUCT, .entry_size = sizeof(struct type)   \
    }
#define FIELD(type, field)                                                                         \
    {                                                                                              \
        .entry_name = #type "." #field, .entry_kind = UMEM_LAYOUT_FIELD,                           \
        .entry_value = offsetof(struct type, field),                                               \
        .entry_size = sizeof(((struct type *)0)->field)                                            \
    }
#define CONSTANT(name)                                                                             \
    {                                                                                              \
        .entry_name = #name, .entry_kind = UMEM_LAYOUT_CONSTANT, .entry_value = (uint64_t)(name)   \
    }
#define ADDRESS(name)                                                                              \
    {                                                                                              \
        .entry_name = #name, .entry_kind = UMEM_LAYOUT_ADDRESS, .entry_address = &(name),          \
        .entry_size = sizeof(name)                                                                 \
    }

#define ENTRIES                                                                                    \
    STRUCT(table_slot), FIELD(table_slot, slot_word), FIELD(table_slot, slot_thread),              \
        FIELD(table_slot, slot_start), FIELD(table_slot, slot_name), STRUCT(table_leaf),           \
        FIELD(table_leaf, leaf_slot), STRUCT(table_middle), FIELD(table_middle, middle_leaf),      \
        STRUCT(stack_class), FIELD(stack_class, class_guard_low),                                  \
        FIELD(stack_class, class_guard_high), CONSTANT(TABLE_GRANULE_SHIFT),                       \
        CONSTANT(TABLE_LEAF_BITS), CONSTANT(TABLE_MIDDLE_BITS), CONSTANT(TABLE_ROOT_SIZE),         \
        CONSTANT(TABLE_STATE_MASK), CONSTANT(TABLE_CLASS_SHIFT), CONSTANT(TABLE_CLASS_MASK),       \
        CONSTANT(TABLE_OFFSET_MASK), CONSTANT(TABLE_NAMED), CONSTANT(TABLE_OWNED),                 \
        CONSTANT(TABLE_FILLED), CONSTANT(TABLE_DEFERRED), CONSTANT(TABLE_PATTERN_FACTOR),          \
        CONSTANT(TABLE_PATTERN_ONES), CONSTANT(STACK_PAGE_MIN), CONSTANT(STACK_SIZE_SHIFT_MIN),    \
        CONSTANT(STACK_CLASSES), CONSTANT(STACK_CACHED), CONSTANT(STACK_USED),                     \
        CONSTANT(STACK_BARE), ADDRESS(table_root), ADDRESS(stack_classes)

#define ENTRY_COUNT                                                                                \
    (sizeof((struct umem_layout_entry[]){ENTRIES}) / sizeof(struct umem_layout_entry))

STACK_EXPORT struct umem_layout_block stack_layout = {
    .layout_magic = STACK_LAYOUT_MAGIC,
    .layout_version = UMEM_LAYOUT_VERSION,
    .layout_pointer_size = sizeof(void *),
    .layout_entry_size = sizeof(struct umem_layout_entry),
    .layout_entry_count = ENTRY_COUNT,
    .layout_entry = {ENTRIES},
};
