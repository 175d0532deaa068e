/* SPDX-License-Identifier: MIT */
/*
 * test_symbol.c - names of functions: static ones, those of other files, and
 * addresses that have none.
 */
#include "stacktest.h"

#include "symbol.h"

static __attribute__((noipa)) int
hidden_function(int n)
{
    return n + 1;
}

static void
test_own_functions(void **state)
{
    (void)state;
    struct symbol symbol;
    assert_int_equal(hidden_function(1), 2);
    assert_true(symbol_find((uintptr_t)hidden_function, &symbol));
    assert_string_equal(symbol.symbol_name, "hidden_function");
    assert_string_equal(symbol.symbol_module, "test_stackalloc_symbol");
    assert_int_equal(symbol.symbol_offset, 0);
    assert_true(symbol_find((uintptr_t)hidden_function + 2, &symbol));
    assert_int_equal(symbol.symbol_offset, 2);
}

static void
test_functions_of_libraries(void **state)
{
    (void)state;
    struct symbol symbol;
    assert_true(symbol_find((uintptr_t)qsort, &symbol) || SANITIZED);
    assert_true(strncmp(symbol.symbol_module, "libc", 4) == 0 || SANITIZED);
    assert_true(strstr(symbol.symbol_name, "qsort") != NULL || SANITIZED);
}

static void
test_no_functions(void **state)
{
    (void)state;
    static int data;
    struct symbol symbol;
    assert_false(symbol_find(0, &symbol));
    assert_false(symbol_find(UINTPTR_MAX, &symbol));
    assert_false(symbol_find((uintptr_t)&symbol, &symbol)); /* [stack] */
    if (symbol_find((uintptr_t)&data, &symbol))             /* a file's, or memory behind it */
        assert_string_equal(symbol.symbol_name, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_functions),
        cmocka_unit_test(test_functions_of_libraries),
        cmocka_unit_test(test_no_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
