/* SPDX-License-Identifier: MIT */
/*
 * test_mlocked.c - reserved and sealed stacks after mlockall(MCL_CURRENT | MCL_FUTURE), in each
 * backend: guards alive, the bodies locked and nothing else, no fault, no system call, and what
 * goes beyond the reserve counted.
 */
#include "stacktest.h"

#define COUNT 40
#define SIZE (64 * KIB)
#define ENOUGH (96 * MIB) /* more than is locked here */
#define MAPPINGS 4096

struct mapping {
    uintptr_t start, end;
    size_t locked;
};

static struct mapping mappings[MAPPINGS];
static size_t mapping_count;
static char *stacks[COUNT + 1];

static void
read_smaps(void)
{
    char line[512];
    unsigned long start, end, kib;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    CHECK(smaps != NULL);
    mapping_count = 0;
    while (fgets(line, sizeof(line), smaps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && mapping_count < MAPPINGS)
            mappings[mapping_count++] = (struct mapping){start, end, 0};
        else if (sscanf(line, "Locked: %lu kB", &kib) == 1 && mapping_count > 0)
            mappings[mapping_count - 1].locked = kib * KIB;
    }
    fclose(smaps);
    CHECK(mapping_count < MAPPINGS);
}

/* What is locked of [from, to), to whole mappings. */
static size_t
locked_between(uintptr_t from, uintptr_t to)
{
    size_t locked = 0;
    for (size_t i = 0; i < mapping_count; i++)
        if (mappings[i].start < to && mappings[i].end > from)
            locked += mappings[i].locked;
    return locked;
}

struct all {
    uintptr_t lowest, highest;
    size_t bytes;
};

static int
add_stack(const struct stack_info *info, void *arg)
{
    struct all *all = arg;
    uintptr_t base = (uintptr_t)info->info_base;
    all->lowest = base < all->lowest ? base : all->lowest;
    all->highest = base + info->info_size > all->highest ? base + info->info_size : all->highest;
    all->bytes += info->info_size;
    return 0;
}

/* Mappings and the process's faults, before stacks are used by somebody who must not fault. */
static void
check_locked_and_guarded(void)
{
    struct all all = {.lowest = UINTPTR_MAX};
    for (int i = 0; i < COUNT; i++) {
        CHECK(!is_readable(stacks[i] - 1) && !is_readable(stacks[i] + SIZE));
        CHECK(locked_pages(stacks[i], SIZE) == SIZE / PAGE);
        CHECK(resident_pages(stacks[i], SIZE) == SIZE / PAGE);
    }
    CHECK(stack_foreach(add_stack, &all) == 0 && all.bytes >= COUNT * SIZE);
    read_smaps();
    size_t locked = locked_between(all.lowest, all.highest);
    if (locked != all.bytes)
        fprintf(stderr, "# locked %zu of %zu\n", locked, all.bytes);
    CHECK(locked == all.bytes);
}

static void
take_all(void)
{
    for (int i = 0; i < COUNT; i++)
        if ((stacks[i] = stack_alloc(SIZE)) == NULL)
            _exit(2);
}

static void
give_all(void)
{
    for (int i = 0; i < COUNT; i++)
        if (stack_free(stacks[i], SIZE) != 0)
            _exit(3);
}

static void
use_all(void)
{
    for (int i = 0; i < COUNT; i++)
        for (size_t k = 0; k < SIZE; k += PAGE)
            *(volatile char *)(stacks[i] + k) = 1;
}

static void
set_up(enum stack_backend backend)
{
    struct stack_config config = {.config_backend = backend};
    if (stack_config(SIZE, &config, sizeof(config)) != 0)
        _exit(CHILD_SKIP);
    if (SANITIZED || mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        _exit(CHILD_SKIP);
    void *room = mmap(NULL, ENOUGH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        _exit(CHILD_SKIP);
    munmap(room, ENOUGH);
    CHECK(stack_reserve(SIZE, COUNT) == 0);
}

static void
child_guarded(void *arg)
{
    set_up(*(enum stack_backend *)arg);
    take_all();
    check_locked_and_guarded();
    give_all();
    take_all(); /* those of before */
    long faults = thread_faults();
    use_all();
    CHECK(thread_faults() == faults);
    check_locked_and_guarded();
}

static void
be_quiet(void)
{
    forbid_system_calls();
    for (int round = 0; round < 3; round++) {
        take_all();
        use_all();
        give_all();
    }
    _exit(0);
}

static void
child_quiet(void *arg)
{
    set_up(*(enum stack_backend *)arg);
    be_quiet();
}

static void
child_quiet_sealed(void *arg)
{
    set_up(*(enum stack_backend *)arg);
    CHECK(stack_seal() == 0);
    be_quiet();
}

static void
child_sealed(void *arg)
{
    set_up(*(enum stack_backend *)arg);
    CHECK(stack_seal() == 0);
    take_all();
    long faults = thread_faults();
    use_all();
    CHECK(thread_faults() == faults && stack_breaches() == 0);
    check_locked_and_guarded();
    give_all();
    CHECK(stack_breaches() == 0);
    take_all();
    /* Some more than the reserve there may be; then one is made, counted and as good as any. */
    for (int i = 0; i < 100 && stack_breaches() == 0; i++)
        CHECK((stacks[COUNT] = stack_alloc(SIZE)) != NULL);
    CHECK(stack_breaches() == 1);
    CHECK(!is_readable(stacks[COUNT] - 1) && !is_readable(stacks[COUNT] + SIZE));
    CHECK(locked_pages(stacks[COUNT], SIZE) == SIZE / PAGE);
    CHECK(stack_unseal() == 0);
}

static void
in_each_backend(void (*child)(void *))
{
    enum stack_backend backends[] = {STACK_BACKEND_AUTO, STACK_BACKEND_MPROTECT,
                                     STACK_BACKEND_REGIONS};
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child, &backends[i]);
}

static void
test_guarded_and_locked(void **state)
{
    (void)state;
    in_each_backend(child_guarded);
}

static void
test_no_system_call_within_the_reserve(void **state)
{
    (void)state;
    in_each_backend(child_quiet);
    in_each_backend(child_quiet_sealed);
}

static void
test_sealed_and_a_breach(void **state)
{
    (void)state;
    in_each_backend(child_sealed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guarded_and_locked),
        cmocka_unit_test(test_no_system_call_within_the_reserve),
        cmocka_unit_test(test_sealed_and_a_breach),
    };
    return cmocka_run_group_tests_name("stackalloc/mlocked", tests, NULL, NULL);
}
