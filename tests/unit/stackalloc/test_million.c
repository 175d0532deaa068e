/* SPDX-License-Identifier: MIT */
/*
 * test_million.c - a million lazy stacks in one process, under the usual limit
 * of mappings: guarded each, and all given back.
 */
#include "stacktest.h"

#include <umem.h>

#define MILLION 1000000
#define PROBES 1000
#define PAGE_TABLES_MAX_KIB (200 * 1024)
/* A quarter of the usual limit; what comes then joins, but for a table here and there. */
#define MAPPINGS_MAX 20000

static size_t
mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    size_t count = 0;
    for (int c; (c = getc(file)) != EOF;)
        count += c == '\n';
    fclose(file);
    return count;
}

static void
child_million(void *arg)
{
    (void)arg;
    struct stack_config config = {.config_backend = STACK_BACKEND_REGIONS};
    if (stack_config(64 * KIB, &config, sizeof(config)) != 0)
        _exit(CHILD_SKIP); /* no guard regions here */
    config = (struct stack_config){.config_lazy = 1};
    CHECK(stack_config(32 * KIB, &config, sizeof(config)) == 0);
    char **stacks = malloc(MILLION * sizeof(*stacks));
    CHECK(stacks != NULL);
    long before = status_kib("VmSize:");
    for (size_t i = 0; i < MILLION; i++)
        CHECK((stacks[i] = stack_alloc(32 * KIB)) != NULL);
    for (size_t i = 0, at = 1; i < PROBES; i++) {
        do /* each number below 2^20 once */
            at = (at * 1103515245 + 12345) % (1 << 20);
        while (at >= MILLION);
        char *stack = stacks[at];
        CHECK(!is_readable(stack - 1) && !is_readable(stack - 4 * PAGE));
        CHECK(!is_readable(stack + 32 * KIB) && !is_readable(stack + 32 * KIB + PAGE - 1));
        CHECK(resident_pages(stack, 32 * KIB) == 0);
        stack[32 * KIB - 1] = 1;
        CHECK(resident_pages(stack, 32 * KIB) == 1);
    }
    CHECK(status_kib("VmPTE:") < PAGE_TABLES_MAX_KIB);
    CHECK(mappings() < MAPPINGS_MAX);
    for (size_t i = 0; i < MILLION; i++)
        CHECK(stack_free(stacks[i], 32 * KIB) == 0);
    umem_reap();
    umem_reap();
    /* What is left: the tables, which stay, and what this thread's magazines hold. */
    CHECK(status_kib("VmSize:") - before < 1024 * 1024);
}

static void
test_a_million(void **state)
{
    (void)state;
    if (SANITIZED || sizeof(void *) < 8)
        skip();
    must_succeed(child_million, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_million),
    };
    return cmocka_run_group_tests_name("stackalloc/million", tests, NULL, NULL);
}
