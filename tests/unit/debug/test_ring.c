/* SPDX-License-Identifier: MIT */
/* test_ring.c - the message ring wraps, and messages are whole lines. */
#include "support.h"

#include <errno.h>

#include "debug/debug.h"
#include "debug/log.h"

static void
wraps(void **state)
{
    static char text[3 * UMEM_RING_SIZE];
    static const size_t sizes[] = {
        0, 1, 100, UMEM_RING_SIZE - 101, UMEM_RING_SIZE, 7, UMEM_RING_SIZE + 1, 3 * UMEM_RING_SIZE};

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(sizes); i++) {
        uint64_t before = umem_ring.ring_head;
        umem_ring_write(text, sizes[i]);
        assert_int_equal(umem_ring.ring_head, before + sizes[i]);
        size_t kept = umem_min(sizes[i], UMEM_RING_SIZE);
        const char *got = ring_since(umem_ring.ring_head - kept);
        assert_memory_equal(got, text + sizes[i] - kept, kept);
    }
}

static void
say_things(void *arg)
{
    static char longer[2000];

    uint64_t mark = umem_ring.ring_head;

    (void)arg;
    memset(longer, 'y', sizeof(longer) - 1);
    errno = ERANGE;
    umem_message(true, "%s=%d", "always", 1);
    umem_message(false, "hidden");
    umem_options.opt_verbose = true;
    umem_message(false, "shown");
    umem_message(true, "%s", longer);
    umem_message(true, "end");
    if (errno != ERANGE)
        _exit(1);
    if (strstr(ring_since(mark), "umem: always=1\numem: hidden\numem: shown\n") == NULL)
        _exit(2);
}

static void
messages(void **state)
{
    (void)state;
    const struct outcome *outcome = run_child(say_things, NULL);
    assert_int_equal(outcome->status, 0);
    assert_memory_equal(outcome->text, "umem: always=1\numem: shown\numem: yyy", 36);
    assert_lacks(outcome->text, "hidden");
    assert_contains(outcome->text, "yyy\numem: end\n");
}

static void
ownership(void **state)
{
    (void)state;
    assert_true(umem_log_enter());
    assert_false(umem_log_enter());
    umem_log_leave();
    assert_true(umem_log_enter());
    umem_log_leave();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wraps),
        cmocka_unit_test(messages),
        cmocka_unit_test(ownership),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
