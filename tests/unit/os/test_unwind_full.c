/* SPDX-License-Identifier: MIT */
/*
 * test_unwind_full.c - os_unwind() against glibc's backtrace() where the rules
 * of the table do not do: frames that expressions describe, the loader that
 * binds a call when it is first made (at each of its instructions, and from
 * within), modules without symbols, very deep stacks.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>

#include "os/unwind.h"
#include "unwind_beside.h"
#include "unwind_rules.h"
#include "unwind_shapes.h"

#if defined(__x86_64__)

/* --- Expressions --- */

static void (*const rules[])(void (*)(void)) = {
    rule_cfa_product,         rule_cfa_branch,        rule_cfa_saved,    rule_cfa_by_r13,
    rule_address_in_register, rule_address_elsewhere, rule_rbp_computed,
};
#define RULES_COUNT (sizeof(rules) / sizeof(rules[0]))

static void
every_rule(void)
{
    for (size_t i = 0; i < RULES_COUNT; i++)
        rules[i](compare);
}

static void
rule_in_rule(void)
{
    for (size_t i = 0; i < RULES_COUNT; i++)
        rules[i](every_rule);
}

static void
expressions(void **state)
{
    (void)state;
    reset();
    every_shape(every_rule);
    rule_in_rule();
    for (size_t i = 0; i < RULES_COUNT; i++)
        rules[i](rule_in_rule);
    assert_true(captures > RULES_COUNT * RULES_COUNT * RULES_COUNT);
    assert_int_equal(mismatches, 0);
    assert_int_equal(longer, 0);
}

/* --- Calls that are not bound yet --- */

/* They stay: of code in the place of other code test_unwind.c has tests. */
static void *
load(int i)
{
    if (module_path[i] == NULL)
        skip();
    void *module = dlopen(module_path[i], RTLD_LAZY | RTLD_LOCAL);
    assert_non_null(module);
    return module;
}

static void
on_trap(int sig)
{
    (void)sig;
    compare();
}

/* Through the linkage table, the loader's entry and the loader, and back. */
__attribute__((unused)) static void
binding_stepwise(void **state)
{
    struct sigaction action = {.sa_handler = on_trap};

    (void)state;
    assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
    for (int i = 0; i < 2; i++) {
        void *module = load(i);
        long (*work)(const char *) = (long (*)(const char *))(uintptr_t)dlsym(module, "lazy_work");
        reset();
        trap_on();
        work("77 some 9");
        trap_off();
        unsigned unbound = captures;
        assert_true(unbound > 1000); /* else the calls were bound already */
        trap_on();
        work("77 some 9");
        trap_off();
        assert_true(captures - unbound < unbound / 2);
        assert_int_equal(mismatches, 0);
    }
}

/* The loader asks the module for an address: a walk through all of that. */
static void
binding_within(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        void *module = load(i);
        int (*chosen)(void (*)(void)) =
            (int (*)(void (*)(void)))(uintptr_t)dlsym(module, "lazy_chosen");
        reset();
        assert_int_equal(chosen(compare), 42);
        assert_int_equal(captures, 1); /* it was not asked before */
        assert_int_equal(mismatches, 0);
        assert_int_equal(longer, 0);
    }
}

/* --- Depth --- */

static void
whole(void)
{
    static uintptr_t frames[200000];
    uint32_t n = os_unwind(frames, 200000, 0);

    captures = n;
    for (uint32_t i = 3; i + 10 < n; i++) /* all of them the recursion's but for both ends */
        mismatches += frames[i] != frames[2];
}

__attribute__((unused)) static void
depth(void **state)
{
    enum { DEPTH = 100000 };

    (void)state;
    reset();
    shapes_o2.recurse(DEPTH, compare);
    assert_int_equal(mismatches, 0);
    reset();
    shapes_o2.recurse(DEPTH, whole);
    assert_true(captures > DEPTH);
    assert_true(mismatches < 10);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(binding_stepwise), /* not through a sanitizer's own runtime, */
        cmocka_unit_test(depth),            /* nor with its frames: they overflow the stack */
#endif
        cmocka_unit_test(binding_within),
    };
    void *plain[4];

    backtrace(plain, 4); /* loads libgcc: not to happen within a signal handler */
    compare();           /* binds what it calls */
    take_modules(argc, argv);
    return cmocka_run_group_tests_name("os/unwind_full", tests, NULL, NULL);
}

#else

int
main(void)
{
    return 77; /* no tables are read here */
}

#endif
