/* SPDX-License-Identifier: MIT */
/*
 * test_expr.c - expressions of the shell: radixes, operators and their ranks,
 * names, errors, and bounds on what any line can make it do.
 */
#include "shell/expr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DOT 0x1000
#define WHY_SIZE 256
#define DEEP 5000

static bool
symbol(void *arg, const char *name, uint64_t *value)
{
    (void)arg;
    if (strcmp(name, "main") == 0)
        *value = 0x400;
    else if (strcmp(name, "libc.so.6`malloc") == 0)
        *value = 0x500;
    else if (strcmp(name, "fade") == 0) /* a hexadecimal number, too */
        *value = 0x600;
    else
        return false;
    return true;
}

static bool
variable(void *arg, const char *name, uint64_t *value)
{
    (void)arg;
    *value = 0x77;
    return strcmp(name, "rip") == 0;
}

static bool
word(void *arg, uint64_t addr, uint64_t *value)
{
    (void)arg;
    if (addr == 0)
        return false;
    *value = addr + 1;
    return true;
}

static const struct expr_env env = {NULL, DOT, symbol, variable, word};

/* The value of a text that is an expression to its end. */
static uint64_t
value_of(const char *text)
{
    char why[WHY_SIZE] = "";
    uint64_t value = 0;
    const char *at = text;
    if (!expr_eval(&env, &at, &value, why, sizeof(why)))
        fail_msg("%s: %s", text, why);
    assert_string_equal(at, "");
    return value;
}

static const char *
error_of(const char *text)
{
    static char why[WHY_SIZE];
    uint64_t value;
    const char *at = text;
    why[0] = '\0';
    if (expr_eval(&env, &at, &value, why, sizeof(why)))
        fail_msg("%s is no error", text);
    return why;
}

static void
test_integers(void **state)
{
    (void)state;
    assert_int_equal(value_of("10"), 0x10);
    assert_int_equal(value_of("0x1f"), 0x1f);
    assert_int_equal(value_of("0t10"), 10);
    assert_int_equal(value_of("0T10"), 10);
    assert_int_equal(value_of("0o17"), 15);
    assert_int_equal(value_of("0i101"), 5);
    assert_int_equal(value_of("1AbC"), 0x1abc);
    assert_int_equal(value_of("'a'"), 'a');
    assert_int_equal(value_of("'ab'"), 'a' << 8 | 'b');
    assert_true(value_of("ffffffffffffffff") == UINT64_MAX);
}

static void
test_names(void **state)
{
    (void)state;
    assert_int_equal(value_of("."), DOT);
    assert_int_equal(value_of(".+8"), DOT + 8);
    assert_int_equal(value_of("main+4"), 0x404);
    assert_int_equal(value_of("libc.so.6`malloc"), 0x500);
    assert_int_equal(value_of("<rip"), 0x77);
    assert_int_equal(value_of("fade"), 0x600); /* the symbol wins */
    assert_int_equal(value_of("0xfade"), 0xfade);
    assert_int_equal(value_of("beef"), 0xbeef);
}

static void
test_operators(void **state)
{
    (void)state;
    assert_int_equal(value_of("2 + 3 * 4"), 14);
    assert_int_equal(value_of("(2 + 3) * 4"), 20);
    assert_int_equal(value_of("10 - 3 - 2"), 0xb);
    assert_int_equal(value_of("10 % 3"), 5);
    assert_int_equal(value_of("5 # 4"), 8);
    assert_int_equal(value_of("8 # 4"), 8);
    assert_int_equal(value_of("1 << 2 + 1"), 8);
    assert_int_equal(value_of("100 >> 4"), 0x10);
    assert_int_equal(value_of("1 << 0t64"), 0);
    assert_int_equal(value_of("3 == 3"), 1);
    assert_int_equal(value_of("3 != 3"), 0);
    assert_int_equal(value_of("6 & 3 ^ 1"), 3);
    assert_int_equal(value_of("(1|6)"), 7);
    assert_int_equal(value_of("-1+2"), 1);
    assert_true(value_of("~0") == UINT64_MAX);
    assert_int_equal(value_of("#0"), 1);
    assert_int_equal(value_of("#5"), 0);
    assert_int_equal(value_of("*main"), 0x401);
    assert_int_equal(value_of("2**main"), 0x802);
    assert_int_equal(value_of("- - 5"), 5);
}

/* What follows an expression is left for the command. */
static void
test_ends_where_a_command_begins(void **state)
{
    static const struct {
        const char *text;
        const char *rest;
    } cases[] = {{"10::whatis", "::whatis"}, {"main,4/X", ",4/X"}, {"10/X", "/X"},   {"10=D", "=D"},
                 {"1 | 2", "| 2"},           {"10>x", ">x"},       {"10!ls", "!ls"}, {"10$c", "$c"},
                 {"10 ::x", "::x"}};
    char why[WHY_SIZE];
    uint64_t value;
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *at = cases[i].text;
        assert_true(expr_eval(&env, &at, &value, why, sizeof(why)));
        assert_string_equal(at, cases[i].rest);
    }
}

static void
test_errors(void **state)
{
    (void)state;
    assert_non_null(strstr(error_of("12zz"), "not a number"));
    assert_non_null(strstr(error_of("0t1f"), "not a number"));
    assert_non_null(strstr(error_of("0x"), "digits are missing"));
    assert_non_null(strstr(error_of("10000000000000000"), "more than 64 bits"));
    assert_non_null(strstr(error_of("nothing"), "no such symbol; numbers are hexadecimal"));
    assert_non_null(strstr(error_of("<rax"), "no such variable"));
    assert_non_null(strstr(error_of("<"), "missing after <"));
    assert_non_null(strstr(error_of("(1"), ") is missing"));
    assert_non_null(strstr(error_of("1 +"), "line ends"));
    assert_non_null(strstr(error_of("1 + ]"), "] where a value"));
    assert_non_null(strstr(error_of("1 % 0"), "division by zero"));
    assert_non_null(strstr(error_of("1 # 0"), "division by zero"));
    assert_non_null(strstr(error_of("*0"), "cannot be read"));
    assert_non_null(strstr(error_of("'abcdefghi'"), "more than 8 characters"));
    assert_non_null(strstr(error_of("'abc"), "' is missing"));
}

/* Nesting is bounded, whatever nests. */
static void
test_depth(void **state)
{
    static char text[DEEP + 1];
    (void)state;

    memset(text, '(', DEEP);
    assert_non_null(strstr(error_of(text), "nested too deep"));
    memset(text, '-', DEEP);
    assert_non_null(strstr(error_of(text), "nested too deep"));
    memset(text, 'x', DEEP);
    assert_non_null(strstr(error_of(text), "too long"));
    memset(text, '`', DEEP);
    error_of(text);
    memset(text, '<', DEEP);
    error_of(text);
    for (size_t i = 0; i < DEEP; i += 2)
        memcpy(text + i, "1+", 2);
    text[DEEP - 1] = '\0';
    assert_int_equal(value_of(text), DEEP / 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_operators), cmocka_unit_test(test_ends_where_a_command_begins),
        cmocka_unit_test(test_errors),    cmocka_unit_test(test_depth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
