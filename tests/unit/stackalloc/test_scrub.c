/* SPDX-License-Identifier: MIT */
/*
 * test_scrub.c - what a user left in a stack, and whether the next one sees it.
 */
#include "stacktest.h"

#define STACK (256 * KIB)

struct scrub {
    enum stack_scrub how;
    int lazy;
};

static bool
is_clear(const char *stack)
{
    for (size_t i = 0; i < STACK; i++)
        if (stack[i] != 0)
            return false;
    return true;
}

/* Bytes at both ends of what scans look at together, with zeroes between that the user wrote. */
static void
use(char *stack, size_t lowest)
{
    memset(stack + lowest, 7, 1);
    memset(stack + STACK / 2, 0, STACK / 4);
    memset(stack + STACK - 5000, 7, 5000);
}

static void
child_scrub(void *arg)
{
    struct scrub scrub = *(struct scrub *)arg;
    struct stack_config config = {.config_scrub = scrub.how, .config_lazy = scrub.lazy};
    CHECK(stack_config(STACK, &config, sizeof(config)) == 0);
    const size_t lowest[] = {STACK - 6000, 100000, 4096, 4095, 257, 256, 255, 1, 0};
    for (size_t i = 0; i < sizeof(lowest) / sizeof(lowest[0]); i++) {
        char *stack = stack_alloc(STACK);
        CHECK(stack != NULL);
        use(stack, lowest[i]);
        CHECK(stack_free(stack, STACK) == 0);
        /* Clearing a lazy one faults nothing in below. */
        size_t below = lowest[i] < STACK / 2 ? lowest[i] / PAGE : STACK / 2 / PAGE;
        CHECK(!scrub.lazy || below == 0 || resident_pages(stack, below * PAGE) == 0);
        CHECK(is_clear(stack) == (scrub.how != STACK_SCRUB_NONE));
        if (scrub.how == STACK_SCRUB_NONE)
            break;
        CHECK(stack_alloc(STACK) == stack); /* so that the next one is another, untouched */
    }
    /* Freed by the thread that stands elsewhere, later. */
    char *stack = stack_alloc(STACK);
    use(stack, 5);
    CHECK(stack_free_deferred(stack, STACK) == 0);
    CHECK(stack_alloc(64 * KIB) != NULL);
    CHECK(is_clear(stack) == (scrub.how != STACK_SCRUB_NONE));
}

static void
test_scrub(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    for (int how = STACK_SCRUB_NONE; how <= STACK_SCRUB_ALL; how++)
        for (int lazy = 0; lazy <= 1; lazy++) {
            struct scrub scrub = {(enum stack_scrub)how, lazy};
            must_succeed(child_scrub, &scrub);
        }
}

static void
test_refused(void **state)
{
    (void)state;
    struct stack_config config = {.config_scrub = (enum stack_scrub)(STACK_SCRUB_ALL + 1)};
    assert_int_equal(stack_config(STACK, &config, sizeof(config)), -1);
    assert_int_equal(errno, EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scrub),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("stackalloc/scrub", tests, NULL, NULL);
}
