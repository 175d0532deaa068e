/* SPDX-License-Identifier: MIT */
/* test_text.c - a report's text: nothing lost over its buffer's edge, rows of bytes, stacks. */
#include "support.h"

#include "debug/log.h"
#include "debug/text.h"

static void
many_lines(void *arg)
{
    char longer[2 * UMEM_TEXT_PIECE];

    (void)arg;
    memset(longer, 'w', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    (void)umem_log_enter();
    for (int i = 0; i < 2000; i++)
        umem_text_add("line %d\n", i);
    umem_text_add("%s", longer);
    umem_text_add("\nend\n");
    umem_text_flush();
    umem_text_flush();
    umem_log_leave();
}

static void
nothing_is_lost(void **state)
{
    (void)state;
    const char *text = run_child(many_lines, NULL)->text;
    for (int i = 0; i < 2000; i++) {
        char line[32];
        size_t length = (size_t)snprintf(line, sizeof(line), "line %d\n", i);
        assert_memory_equal(text, line, length);
        text += length;
    }
    /* A piece is cut, what comes after it is not. */
    assert_int_equal(strspn(text, "w"), UMEM_TEXT_PIECE);
    assert_string_equal(text + UMEM_TEXT_PIECE, "\nend\n");
}

static void
rows(void *arg)
{
    (void)umem_log_enter();
    umem_text_bytes("heading", arg, 0x20, 19);
    umem_text_stack(NULL, 0);
    umem_text_flush();
    umem_log_leave();
}

static void
bytes_in_rows(void **state)
{
    (void)state;
    assert_string_equal(
        run_child(rows, "0123456789abcd\n\377xyz")->text,
        "heading\n"
        "  +0x20     30 31 32 33 34 35 36 37 38 39 61 62 63 64 0a ff  0123456789abcd..\n"
        "  +0x30     78 79 7a                                         xyz\n"
        "  (no frames)\n");
}

static void
stack(void *arg)
{
    const uintptr_t frames[] = {(uintptr_t)arg, 0x10};

    (void)umem_log_enter();
    umem_text_stack(frames, 2);
    umem_text_flush();
    umem_log_leave();
}

static void
stacks_line_by_line(void **state)
{
    (void)state;
    assert_string_equal(run_child(stack, (char *)(uintptr_t)stack + 1)->text,
                        "  test_debug_text`stack+0x1\n  0x10\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(bytes_in_rows),
        cmocka_unit_test(stacks_line_by_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
