/* SPDX-License-Identifier: MIT */
/*
 * test_suppress.c - what a pattern fits, and what a file of suppressions may
 * hold.  What is taken from a real heap: tests/analyse/test_suppressions.py.
 */
#include "leaks/suppress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void
test_patterns(void **state)
{
    static const struct {
        const char *pattern;
        const char *name;
        bool fits;
    } row[] = {
        {"foo", "foo", true},
        {"foo", "a_foo_b", true},
        {"foo", "fo", false},
        {"foo", "", false},
        {"*", "", false},
        {"*", "x", true},
        {"^foo", "foobar", true},
        {"^foo", "a_foo", false},
        {"foo$", "a_foo", true},
        {"foo$", "foo_b", false},
        {"foo$", "foofoo", true}, /* the first one that fits is not the one at the end */
        {"^foo$", "foo", true},
        {"^foo$", "foofoo", false},
        {"^a*c", "abbbcd", true},
        {"^a*c$", "abcbc", true},
        {"^a*c$", "abcb", false},
        {"a*b*c", "xxaxxbxxcxx", true},
        {"a*b*c", "xxaxxcxxbxx", false},
        {"**", "x", true},
        {"a**b", "ab", true},
        {"^*b$", "ab", true},
        {"aab", "aaab", true},
        {"*/libssl.so", "/usr/lib/libssl.so.3", true},
        {"^/usr/lib/", "/opt/usr/lib/x", false},
        {"a$b", "xa$by", true}, /* a dollar that is not at the end is one of the name */
        {"a^b", "a^b", true},
        {"std::vector<*>::push_back", "std::vector<int>::push_back(int&&)", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        if (suppression_fits(row[i].pattern, row[i].name) != row[i].fits)
            fail_msg("%s and %s", row[i].pattern, row[i].name);
}

/* Reads a file of that text; the reason, to be freed, or NULL. */
static char *
read_text(struct suppressions *s, const char *text, size_t size)
{
    char path[] = "/tmp/umem-suppress-XXXXXX";
    char why[256] = "";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
    bool ok = suppressions_read(s, path, why, sizeof(why));
    unlink(path);
    if (ok)
        return NULL;
    assert_memory_equal(why, path, strlen(path));
    return strdup(why + strlen(path));
}

static void
test_files(void **state)
{
    static const char text[] =
        "# known\n\n  leak:one\t \r\n\t# indented\nleak: *two words$\nleak:#x";
    struct suppressions s = {0};
    (void)state;

    assert_null(read_text(&s, text, strlen(text)));
    assert_null(read_text(&s, "", 0));
    assert_null(read_text(&s, "leak:again\n", strlen("leak:again\n")));
    assert_int_equal(s.count, 4);
    assert_string_equal(s.list[0].sup_pattern, "one");
    assert_int_equal(s.list[0].sup_line, 3);
    assert_string_equal(s.list[1].sup_pattern, "*two words$");
    assert_int_equal(s.list[1].sup_line, 5);
    assert_string_equal(s.list[2].sup_pattern, "#x");
    assert_string_equal(s.list[3].sup_pattern, "again");
    suppressions_fini(&s);
    assert_int_equal(s.count, 0);
}

static void
test_malformed(void **state)
{
    static const char *const bad[] = {"leak",   "leak:",  "leak:  ", "leak:^$",
                                      "race:x", "Leak:x", "leak x",  "one"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct suppressions s = {0};
        char text[64];
        int n = snprintf(text, sizeof(text), "leak:good\n%s\nleak:good\n", bad[i]);
        char *why = read_text(&s, text, (size_t)n);
        assert_string_equal(why, ":2: a line is leak:PATTERN, or a comment after #");
        free(why);
        suppressions_fini(&s);
    }
    struct suppressions s = {0};
    char *why = read_text(&s, "leak:a\0b\n", 9);
    assert_non_null(why);
    free(why);
    char text[256];
    assert_false(suppressions_read(&s, "/no/such/file", text, sizeof(text)));
    assert_string_equal(text, "/no/such/file: No such file or directory; give a file of lines "
                              "leak:PATTERN");
    assert_false(suppressions_read(&s, "/tmp", text, sizeof(text)));
    assert_string_equal(text, "/tmp: Is a directory");
    suppressions_fini(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_malformed),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
