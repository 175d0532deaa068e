/* SPDX-License-Identifier: MIT */
/*
 * test_intern.c - numbers of strings, and the encoding of protocol buffers.
 */
#include "report/intern.h"
#include "report/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MANY 20000

/* In the order of adding, through every growth of the tables. */
static void
test_numbers_stay(void **state)
{
    struct intern t = {0};
    char text[32];
    bool added;
    (void)state;

    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "name %u", i);
        assert_int_equal(intern_add(&t, text, strlen(text), &added), i);
        assert_true(added);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        size_t size;
        snprintf(text, sizeof(text), "name %u", i);
        assert_int_equal(intern_text(&t, text), i);
        assert_string_equal(intern_key(&t, i, &size), text);
        assert_int_equal(size, strlen(text));
    }
    assert_int_equal(t.int_count, MANY);
    assert_false(t.int_failed);
    intern_fini(&t);
}

static void
test_bytes_are_told_apart(void **state)
{
    struct intern t = {0};
    (void)state;

    assert_int_equal(intern_add(&t, "", 0, NULL), 0);
    assert_int_equal(intern_add(&t, "\0", 1, NULL), 1);
    assert_int_equal(intern_add(&t, "a\0b", 3, NULL), 2);
    assert_int_equal(intern_add(&t, "a\0c", 3, NULL), 3);
    assert_int_equal(intern_add(&t, "a", 1, NULL), 4);
    assert_int_equal(intern_add(&t, "\0", 1, NULL), 1);
    intern_fini(&t);
}

/* Bytes as the format's description has them. */
static void
test_wire(void **state)
{
    static const unsigned char expected[] = {0x08, 0x96, 0x01,             /* 1: 150 */
                                             0x12, 0x02, 'h',  'i',        /* 2: "hi" */
                                             0x22, 0x03, 0x08, 0xac, 0x02, /* 4: {1: 300} */
                                             0x18, 0xff, 0xff, 0xff, 0xff, 0xff,
                                             0xff, 0xff, 0xff, 0xff, 0x01}; /* 3: 2^64 - 1 */
    struct wire w = {0};
    struct wire part = {0};
    (void)state;

    wire_number(&w, 1, 150);
    wire_number(&w, 5, 0);
    wire_text(&w, 2, "hi");
    wire_number(&part, 1, 300);
    wire_message(&w, 4, &part);
    assert_int_equal(part.wire_size, 0);
    wire_number(&w, 3, UINT64_MAX);
    assert_int_equal(w.wire_size, sizeof(expected));
    assert_memory_equal(w.wire_data, expected, sizeof(expected));
    assert_false(w.wire_failed);
    wire_fini(&w);
    wire_fini(&part);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_stay),
        cmocka_unit_test(test_bytes_are_told_apart),
        cmocka_unit_test(test_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
