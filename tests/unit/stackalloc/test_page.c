/* SPDX-License-Identifier: MIT */
/*
 * test_page.c - page.c and the constructor on it: what each step charges,
 * locks and gives back, and that a stack that could not be built leaves
 * nothing behind.
 */
#include "stacktest.h"

#include "page.h"
#include "stack.h"
#include "table.h"

#define ROOM (64 * MIB)

static void
lock_all(int flags)
{
    if (mlockall(flags) != 0)
        _exit(CHILD_SKIP);
}

static void
child_reserve(void *arg)
{
    (void)arg;
    lock_all(MCL_CURRENT | MCL_FUTURE);
    long before = status_kib("VmLck:");
    char *room = page_reserve(ROOM);
    CHECK(room != NULL && (uintptr_t)room % PAGE == 0);
    CHECK(status_kib("VmLck:") == before);
    CHECK(!is_readable(room) && !is_readable(room + ROOM - 1));
    CHECK(resident_pages(room, 2 * MIB) == 0 && locked_pages(room, 2 * MIB) == 0);
    /* The limit does not count it either. */
    struct rlimit limit = {(rlim_t)before * KIB + MIB, (rlim_t)before * KIB + MIB};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (geteuid() == 0)
        CHECK(setuid(65534) == 0);
    CHECK(page_reserve(ROOM) != NULL);
    CHECK(mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    CHECK(errno == EAGAIN);
    CHECK(page_open(room, 2 * MIB) == 0);
    CHECK(page_lock(room, 2 * MIB) == -1 && errno == EAGAIN);
    CHECK(page_lock(room, 64 * KIB) == 0);
    page_release(room, ROOM);
    CHECK(page_open(room, PAGE) == -1 && errno == ENOMEM);
}

static void
test_reserved_space_is_not_charged(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_reserve, NULL);
}

static void
child_locking(void *arg)
{
    (void)arg;
    CHECK(page_locking() == 0);
    lock_all(MCL_CURRENT);
    CHECK(page_locking() == 0);
    lock_all(MCL_FUTURE);
    CHECK(page_locking() == 1);
    lock_all(MCL_FUTURE | MCL_ONFAULT);
    CHECK(page_locking() == 1);
    CHECK(munlockall() == 0);
    CHECK(page_locking() == 0);
}

/* What a reservation found out answers once, and for the allocation that it was made for. */
static void
child_locking_seen(void *arg)
{
    (void)arg;
    CHECK(page_reserve(MIB) != NULL);
    lock_all(MCL_FUTURE);
    CHECK(page_locking() == 0 && page_locking() == 1);
    CHECK(munlockall() == 0 && page_locking() == 0);
    CHECK(page_reserve(MIB) != NULL);
    lock_all(MCL_FUTURE);
    page_locking_forget();
    CHECK(page_locking() == 1);
    CHECK(page_reserve(MIB) != NULL && page_locking() == 1);
}

static void
test_locking_is_told_as_it_changes(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_locking, NULL);
    must_succeed(child_locking_seen, NULL);
}

static void
test_populate_keeps_contents(void **state)
{
    (void)state;
    char *room = page_reserve(MIB);
    assert_non_null(room);
    assert_int_equal(page_open(room, MIB), 0);
    room[5 * 4096 + 7] = 42;
    assert_int_equal(page_populate(room, MIB), 0);
    assert_int_equal(resident_pages(room, MIB), MIB / PAGE);
    assert_int_equal(room[5 * 4096 + 7], 42);
    page_discard(room, MIB);
    assert_int_equal(resident_pages(room, MIB), 0);
    assert_int_equal(room[5 * 4096 + 7], 0);
    page_release(room, MIB);
}

static void
child_destruct(void *arg)
{
    if (*(bool *)arg)
        lock_all(MCL_CURRENT | MCL_FUTURE);
    struct stack_class *class = &stack_classes[3];
    CHECK(stack_class_open(3) != NULL); /* writes the guards' widths */
    size_t low = atomic_load(&class->class_guard_low), high = atomic_load(&class->class_guard_high);
    char *object = page_reserve(low + 256 * KIB + high), *body = object + low;
    CHECK(stack_construct(object, class, 0) == 0);
    CHECK(table_find(body)->slot_word == table_word(body, 3, STACK_CACHED));
    long locked = status_kib("VmLck:");
    for (int i = 0; i < 3; i++) {
        CHECK(resident_pages(body, 256 * KIB) == 256 * KIB / PAGE);
        memset(body, 1, 256 * KIB);
        if (i == 1) /* another thread's mlockall() comes between */
            CHECK(mlock(body, 256 * KIB) == 0);
        stack_destruct(object, class);
        CHECK(table_find(body)->slot_word == table_word(body, 3, STACK_BARE));
        CHECK(resident_pages(body, 256 * KIB) == 0 && locked_pages(body, 256 * KIB) == 0);
        CHECK(!is_readable(body) && !is_readable(body + 256 * KIB - 1));
        if (*(bool *)arg)
            CHECK(status_kib("VmLck:") == locked - 256);
        /* Guards that somebody opened are closed again. */
        CHECK(page_open(object, low) == 0 && page_open(body + 256 * KIB, high) == 0);
        CHECK(stack_construct(object, class, 0) == 0);
        CHECK(!is_readable(body - 1) && !is_readable(object) && !is_readable(body + 256 * KIB));
        CHECK(body[0] == 0 && body[256 * KIB - 1] == 0);
        if (*(bool *)arg)
            CHECK(status_kib("VmLck:") == locked);
    }
}

static void
test_destructor_gives_everything_back(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    bool locked = false;
    must_succeed(child_destruct, &locked);
    locked = true;
    must_succeed(child_destruct, &locked);
}

static void
child_failing(void *arg)
{
    (void)arg;
    struct stack_class *class = &stack_classes[6];
    CHECK(stack_class_open(6) != NULL);
    struct stack_form form = stack_class_form(6);
    char *object = page_reserve(form.form_whole), *body = object + form.form_low;
    CHECK(table_reserve(body) != NULL);
    struct rlimit limit = {MIB, MIB};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (geteuid() == 0)
        CHECK(setuid(65534) == 0);
    CHECK(stack_construct(object, class, 0) == 0); /* nothing is locked: no limit */
    stack_destruct(object, class);
    lock_all(MCL_FUTURE);
    errno = 0;
    CHECK(stack_construct(object, class, 0) != 0 && errno == EAGAIN);
    CHECK(table_find(body)->slot_word == table_word(body, 6, STACK_BARE));
    CHECK(!is_readable(body) && !is_readable(body + 2 * MIB - 1));
    CHECK(resident_pages(body, 2 * MIB) == 0 && locked_pages(body, 2 * MIB) == 0);
    /* RLIMIT_DATA: opening is what fails. */
    CHECK(munlockall() == 0);
    limit.rlim_cur = limit.rlim_max = (rlim_t)status_kib("VmData:") * KIB + MIB;
    CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
    CHECK(stack_construct(object, class, 0) != 0 && errno == ENOMEM);
    CHECK(table_find(body)->slot_word == table_word(body, 6, STACK_BARE) && !is_readable(body));
}

static void
test_failed_construction_leaves_nothing(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_failing, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reserved_space_is_not_charged),
        cmocka_unit_test(test_locking_is_told_as_it_changes),
        cmocka_unit_test(test_populate_keeps_contents),
        cmocka_unit_test(test_destructor_gives_everything_back),
        cmocka_unit_test(test_failed_construction_leaves_nothing),
    };
    return cmocka_run_group_tests_name("stackalloc/page", tests, NULL, NULL);
}
