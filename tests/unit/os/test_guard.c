/* SPDX-License-Identifier: MIT */
/*
 * test_guard.c - ranges are inaccessible but for what is opened, which is
 * zeroes; by marks in the page table and by mprotect().
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/guard.h"
#include "os/os.h"

#define PAGES 64

static sigjmp_buf out;

static void
leave(int number)
{
    (void)number;
    siglongjmp(out, 1);
}

/* Whether a write to p faults. */
static bool
faults(volatile char *p)
{
    struct sigaction action = {.sa_handler = leave}, before;
    bool fault = true;

    sigaction(SIGSEGV, &action, &before);
    if (sigsetjmp(out, 1) == 0) {
        *p = 1;
        fault = false;
    }
    sigaction(SIGSEGV, &before, NULL);
    return fault;
}

static size_t
count_maps(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    size_t lines = 0;

    for (int c; (c = fgetc(maps)) != EOF;)
        lines += c == '\n';
    fclose(maps);
    return lines;
}

/* All odd pages are opened, closed, opened again; heavy or light. */
static void
use(char *range, _Atomic bool *heavy)
{
    size_t page = os_page_size();

    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 1; i < PAGES; i += 2) {
            assert_int_equal(os_guard_open(range + i * page, page, heavy), 0);
            assert_int_equal(range[i * page], 0);
            memset(range + i * page, 7, page);
        }
        for (size_t i = 0; i < PAGES; i++)
            assert_int_equal(faults(range + i * page), i % 2 == 0);
        for (size_t i = 1; i < PAGES; i += 2)
            os_guard_close(range + i * page, page, heavy);
        for (size_t i = 0; i < PAGES; i++)
            assert_true(faults(range + i * page));
    }
    os_guard_fini(range, PAGES * page, heavy);
    for (size_t i = 0; i < PAGES; i++) {
        assert_int_equal(range[i * page], 0);
        assert_false(faults(range + i * page));
    }
}

static void
test_guards(void **state)
{
    size_t page = os_page_size(), before;
    _Atomic bool heavy = true;

    (void)state;
    char *range = os_map(PAGES * page, page);
    memset(range, 1, PAGES * page);
    before = count_maps();
    assert_int_equal(os_guard_init(range, PAGES * page, &heavy), 0);
    assert_int_equal(heavy, !os_guard_is_light());
    if (os_guard_is_light())
        assert_int_equal(count_maps(), before);
    use(range, &heavy);
    os_unmap(range, PAGES * page);
}

/* Guard regions are refused in locked memory, before and after. */
static void
test_locked(void **state)
{
    size_t page = os_page_size();
    _Atomic bool heavy = false;

    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* their mlock() locks nothing */
#endif
    char *range = os_map(PAGES * page, page);
    if (mlock(range, PAGES * page) != 0)
        skip();
    assert_int_equal(os_guard_init(range, PAGES * page, &heavy), 0);
    assert_true(heavy);
    assert_true(faults(range));
    assert_int_equal(os_guard_open(range + page, page, &heavy), 0);
    assert_false(faults(range + page));
    os_guard_close(range + page, page, &heavy);
    assert_true(faults(range + page));
    os_unmap(range, PAGES * page);

    range = os_map(PAGES * page, page);
    assert_int_equal(os_guard_init(range, PAGES * page, &heavy), 0);
    assert_int_equal(os_guard_open(range + page, page, &heavy), 0);
    if (!heavy) {
        (void)mlock(range, PAGES * page); /* ENOMEM for the guards: locked all the same */
        os_guard_close(range + page, page, &heavy);
        assert_true(heavy);
        assert_true(faults(range + page));
        munlock(range, PAGES * page);
        use(range, &heavy);
    }
    os_unmap(range, PAGES * page);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_locked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
