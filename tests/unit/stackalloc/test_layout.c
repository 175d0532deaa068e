/* SPDX-License-Identifier: MIT */
/*
 * test_layout.c - the layout block, read as an analyser does: by the names in
 * it alone, a stack is found with its size, state and name.
 */
#include "stacktest.h"

#include "layout.h"

static const struct umem_layout_entry *
entry(const char *name)
{
    for (uint32_t i = 0; i < stack_layout.layout_entry_count; i++)
        if (strcmp(stack_layout.layout_entry[i].entry_name, name) == 0)
            return &stack_layout.layout_entry[i];
    fail_msg("no entry %s", name);
    return NULL;
}

static uint64_t
value(const char *name)
{
    return entry(name)->entry_value;
}

static uintptr_t
read_pointer(uintptr_t address)
{
    uintptr_t result;
    memcpy(&result, (void *)address, sizeof(result));
    return result;
}

/* The slot of the granule that base is in, from the root down. */
static uintptr_t
slot_of(uintptr_t base)
{
    uint64_t granule = base >> value("TABLE_GRANULE_SHIFT");
    uint64_t leaf_bits = value("TABLE_LEAF_BITS"), middle_bits = value("TABLE_MIDDLE_BITS");
    uint64_t top = granule >> (leaf_bits + middle_bits);
    assert_true(top < value("TABLE_ROOT_SIZE"));
    uint64_t in_middle = granule >> leaf_bits & ((1u << middle_bits) - 1);
    uintptr_t middle = read_pointer((uintptr_t)value("table_root") + top * sizeof(void *));
    assert_true(middle != 0);
    uintptr_t leaf = read_pointer(middle + (uintptr_t)value("table_middle.middle_leaf") +
                                  in_middle * sizeof(void *));
    assert_true(leaf != 0);
    return leaf + (uintptr_t)value("table_leaf.leaf_slot") +
           (granule & ((1u << leaf_bits) - 1)) * (uintptr_t)entry("table_slot")->entry_size;
}

static uint32_t
word_of(uintptr_t slot)
{
    uint32_t word;
    memcpy(&word, (void *)(slot + (uintptr_t)value("table_slot.slot_word")), sizeof(word));
    return word;
}

static void
test_a_stack_is_found_by_names_alone(void **state)
{
    (void)state;
    assert_memory_equal(stack_layout.layout_magic, STACK_LAYOUT_MAGIC, sizeof(STACK_LAYOUT_MAGIC));
    assert_int_equal(stack_layout.layout_entry_size, sizeof(struct umem_layout_entry));
    FOR_SIZES(size)
    {
        char *base = stack_alloc(size);
        stack_name(base, "of the test");
        uintptr_t slot = slot_of((uintptr_t)base);
        uint32_t word = word_of(slot);
        uint64_t granule = (uint64_t)1 << value("TABLE_GRANULE_SHIFT");
        assert_int_equal(word & value("TABLE_STATE_MASK"), value("STACK_USED"));
        uint64_t class = (word & value("TABLE_CLASS_MASK")) >> value("TABLE_CLASS_SHIFT");
        assert_int_equal((uint64_t)1 << (class + value("STACK_SIZE_SHIFT_MIN")), size);
        assert_int_equal(word & value("TABLE_OFFSET_MASK"), (uintptr_t)base & (granule - 1));
        assert_true((word & value("TABLE_NAMED")) != 0);
        assert_string_equal((char *)slot + value("table_slot.slot_name"), "of the test");
        uintptr_t class_at =
            (uintptr_t)value("stack_classes") + class * (uintptr_t)entry("stack_class")->entry_size;
        assert_false(is_readable(base - 1));
        assert_true(read_pointer(class_at + (uintptr_t)value("stack_class.class_guard_low")) >=
                    PAGE);
        stack_free(base, size);
        assert_int_equal(word_of(slot) & value("TABLE_STATE_MASK"), value("STACK_CACHED"));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stack_is_found_by_names_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
