/* SPDX-License-Identifier: MIT */
/* test_look.c - what the kernel says of pages, asked of mappings whose state is known. */
#include "stacktest.h"

#include "look.h"

static uintptr_t wanted;

static bool
is_wanted(uintptr_t start)
{
    return start == wanted;
}

static void
test_pages(void **state)
{
    (void)state;
    const size_t size = 200 * PAGE; /* more than is read at once */
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(madvise(p, size, MADV_NOHUGEPAGE) == 0 || errno == EINVAL, 1);
    bool has_pagemap = access("/proc/self/pagemap", R_OK) == 0;
    errno = 77;
    assert_int_equal(look_untouched(p, size), has_pagemap ? size : 0);
    look_name(p, size, "umem stacks"); /* where there is no such thing, nothing happens */
    assert_int_equal(errno, 77);
    assert_int_equal(look_resident(p, size), 0);
    p[150 * PAGE] = 1;
    p[199 * PAGE] = 1;
    assert_int_equal(look_untouched(p, size), has_pagemap ? 150 * PAGE : 0);
    assert_int_equal(look_resident(p, size), 2 * PAGE);
    assert_false(look_locked(p, size));
    if (!SANITIZED && mlock(p, PAGE) == 0)
        assert_true(look_locked(p, size));
    munlock(p, PAGE);
    munmap(p, size);
}

static void
test_huge_page(void **state)
{
    (void)state;
    size_t huge = look_huge_page();
    assert_true(huge == 0 || (huge % PAGE == 0 && (huge & (huge - 1)) == 0));
    assert_int_equal(look_huge_page(), huge);
    assert_true(look_mappings_limit() > 0);
}

static void
test_mappings(void **state)
{
    (void)state;
    char *p = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(p + PAGE, PAGE, PROT_NONE);
    wanted = (uintptr_t)p + PAGE;
    if (access("/proc/self/maps", R_OK) == 0)
        assert_int_equal(look_mappings(is_wanted), 1);
    wanted++;
    assert_int_equal(look_mappings(is_wanted), 0);
    munmap(p, 3 * PAGE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_huge_page),
        cmocka_unit_test(test_mappings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
