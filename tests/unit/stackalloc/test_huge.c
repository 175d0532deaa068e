/* SPDX-License-Identifier: MIT */
/*
 * test_huge.c - a stack of 2 MiB is one huge page where the system has those to
 * give, is guarded as any other, and is small pages where each of them counts.
 */
#include "stacktest.h"

#define STACK (2 * MIB)
#define COUNT 12 /* more than a span has */

static const enum stack_backend backends[] = {STACK_BACKEND_MPROTECT, STACK_BACKEND_REGIONS};

/* Bytes of huge pages in the mapping that holds address. */
static size_t
huge_bytes(const char *address)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    size_t kib, huge = 0;
    unsigned long start, end;
    bool here = false;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = start <= (uintptr_t)address && end > (uintptr_t)address;
        else if (here && sscanf(line, "AnonHugePages: %zu kB", &kib) == 1)
            huge = kib * KIB;
    if (file != NULL)
        fclose(file);
    return huge;
}

/* Whether the system gives one to whoever asks. */
static bool
are_to_be_had(void)
{
    char *p = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || madvise(p, 2 * STACK, MADV_HUGEPAGE) != 0)
        return false;
    memset(p, 1, 2 * STACK);
    bool huge = huge_bytes(p) == STACK || huge_bytes(p) == 2 * STACK;
    munmap(p, 2 * STACK);
    return huge;
}

static void
configure(struct stack_config config)
{
    if (!are_to_be_had() || stack_config(STACK, &config, sizeof(config)) != 0)
        _exit(CHILD_SKIP);
}

static void
child_huge(void *arg)
{
    char *stacks[COUNT];
    struct stack_info info;
    size_t huge = 0;
    long space = 0;
    configure((struct stack_config){.config_backend = *(enum stack_backend *)arg});
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < COUNT; i++) {
            char *stack = stacks[i] = stack_alloc(STACK);
            CHECK(stack != NULL && (uintptr_t)stack % STACK == 0);
            CHECK(resident_pages(stack, STACK) == STACK / PAGE);
            huge += huge_bytes(stack) >= STACK;
            CHECK(!is_readable(stack - 1) && !is_readable(stack - 4 * PAGE));
            /* As far as the next one's guard. */
            for (size_t k = 0; k < STACK - 4 * PAGE; k += 7 * PAGE)
                CHECK(!is_readable(stack + STACK + k));
            CHECK(stack_info(stack, &info) == 0 && info.info_guard_high == PAGE);
            memset(stack, 1, STACK);
        }
        for (int i = 0; i < COUNT; i++)
            CHECK(stack_free(stacks[i], STACK) == 0);
        CHECK(stack_trim(STACK, 0) == COUNT);
        /*
         * What was reserved to begin where a huge page does is gone with the span.  The
         * address table may grow by some KiB, since a later span lies where it likes.
         */
        if (round == 0)
            space = status_kib("VmSize:");
        CHECK(status_kib("VmSize:") < space + (long)(STACK / KIB));
    }
    CHECK(huge > 0); /* there need not be enough of them */
}

static void
child_paged(void *arg)
{
    configure((struct stack_config){.config_backend = *(enum stack_backend *)arg});
    char *stack = stack_alloc(STACK);
    CHECK(stack != NULL && huge_bytes(stack) >= STACK);
    CHECK(stack_watermark(stack, STACK, STACK_WATERMARK_PAGES) == 0);
    stack[STACK - 1] = 1;
    CHECK(resident_pages(stack, STACK) == 1 && stack_highwater(stack) == (ssize_t)PAGE);
    CHECK(stack_free(stack, STACK) == 0 && stack_trim(STACK, 0) == 1);
    CHECK((stack = stack_alloc(STACK)) != NULL && huge_bytes(stack) >= STACK);
}

static void
child_lazy(void *arg)
{
    configure(
        (struct stack_config){.config_backend = *(enum stack_backend *)arg, .config_lazy = 1});
    for (int i = 0; i < COUNT; i++) {
        char *stack = stack_alloc(STACK);
        CHECK(stack != NULL);
        stack[STACK - 1] = 1;
        CHECK(resident_pages(stack, STACK) == 1);
    }
}

static void
in_each_backend(void (*child)(void *))
{
    if (SANITIZED)
        skip();
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child, (void *)&backends[i]);
}

static void
test_one_page(void **state)
{
    (void)state;
    in_each_backend(child_huge);
}

static void
test_pages_that_are_counted(void **state)
{
    (void)state;
    in_each_backend(child_paged);
}

static void
test_none_in_lazy_stacks(void **state)
{
    (void)state;
    in_each_backend(child_lazy);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_page),
        cmocka_unit_test(test_pages_that_are_counted),
        cmocka_unit_test(test_none_in_lazy_stacks),
    };
    return cmocka_run_group_tests_name("stackalloc/huge", tests, NULL, NULL);
}
