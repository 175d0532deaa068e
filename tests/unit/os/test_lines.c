/* SPDX-License-Identifier: MIT */
/* test_lines.c - a file line by line: long lines are cut, and nothing of the next one is lost. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/lines.h"

static void
test_lines(void **state)
{
    static const size_t lengths[] = {
        0, 1, 500, 600, 0, OS_LINE_MAX - 2, OS_LINE_MAX - 1, OS_LINE_MAX, 5 * OS_LINE_MAX, 3};
    char path[] = "/tmp/umem-lines-XXXXXX";
    struct os_lines lines;
    FILE *f = fdopen(mkstemp(path), "w");

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(lengths); i++) {
        for (size_t j = 0; j < lengths[i]; j++)
            fputc('a' + (int)i, f);
        fputc('\n', f);
    }
    fclose(f);
    assert_true(os_lines_open(&lines, path));
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(lengths); i++) {
        const char *line = os_lines_next(&lines);
        size_t length = umem_min(lengths[i], OS_LINE_MAX - 1);
        assert_non_null(line);
        assert_int_equal(strlen(line), length);
        assert_true(length == 0 || (*line == 'a' + (int)i && line[length - 1] == *line));
    }
    assert_null(os_lines_next(&lines));
    assert_null(os_lines_next(&lines));
    os_lines_close(&lines);
    unlink(path);
    assert_false(os_lines_open(&lines, path));
}

static void
test_hex(void **state)
{
    const char *text = "7fff0-8000a r", *p = text;

    (void)state;
    assert_int_equal(os_parse_hex(&p), 0x7fff0);
    assert_int_equal(os_parse_hex(&p), 0x8000a);
    assert_string_equal(p, "r");
    assert_int_equal(os_parse_hex(&p), 0);
    assert_string_equal(p, "");
    assert_int_equal(os_parse_hex(&p), 0);
    assert_string_equal(p, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_hex),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
