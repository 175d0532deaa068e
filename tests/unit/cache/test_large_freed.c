/* SPDX-License-Identifier: MIT */
/*
 * test_large_freed.c - the last freed oversize blocks: found by their start and
 * by any byte, the latest first, the oldest forgotten; read beside a writer.
 */
#include "support.h"

#include "cache/large_freed.h"

#define KEPT 32 /* entries of the ring */
#define SIZE ((size_t)5000003)

static void
note(uintptr_t base, size_t size)
{
    umem_large_freed_note(&(struct umem_large){
        .large_base = (char *)base,
        .large_size = size,
        .large_flags = UMF_AUDIT,
        .large_bufctl.bc_prev.txn_when = base, /* far from the first */
    });
}

static void
test_ring(void **state)
{
    struct umem_large_freed found;

    (void)state;
    assert_false(umem_large_freed_at(NULL, &found));
    for (uintptr_t i = 1; i <= KEPT + 3; i++)
        note(i << 20, i);
    for (uintptr_t i = 1; i <= KEPT + 3; i++) {
        assert_int_equal(umem_large_freed_at((void *)(i << 20), &found), i > 3);
        assert_true(i <= 3 || found.freed_size == i);
        assert_false(umem_large_freed_at((void *)((i << 20) + 1), &found));
    }
    note((KEPT + 3) << 20, 4711);   /* renews the last one */
    note((uintptr_t)7 << 20, 4712); /* comes before the older one */
    assert_true(umem_large_freed_at((void *)((uintptr_t)(KEPT + 3) << 20), &found));
    assert_int_equal(found.freed_size, 4711);
    assert_true(umem_large_freed_at((void *)((uintptr_t)7 << 20), &found));
    assert_int_equal(found.freed_size, 4712);
    assert_false(umem_large_freed_at((void *)((uintptr_t)4 << 20), &found));
}

static _Atomic bool stop;

static void *
write_on(void *arg)
{
    for (uintptr_t i = 1; !stop; i++)
        note((i % 1000 + 1) << 20, (i % 1000 + 1) << 20);
    return arg;
}

/* An entry is read whole or not at all. */
static void
test_beside_a_writer(void **state)
{
    struct umem_large_freed found;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, write_on, NULL), 0);
    for (uintptr_t i = 0; i < 1000000; i++)
        if (umem_large_freed_at((void *)((i % 1000 + 1) << 20), &found))
            assert_int_equal(found.freed_bufctl.bc_prev.txn_when, found.freed_base);
    stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* --- Accesses, asked without a fault --- */

static void
ask(const char *addr, bool unmapped)
{
    const struct os_fault fault = {.fault_addr = (uintptr_t)addr,
                                   .fault_access = OS_ACCESS_WRITE,
                                   .fault_cause =
                                       unmapped ? OS_FAULT_UNMAPPED : OS_FAULT_PROTECTED};

    (void)umem_large_explain(&fault);
}

static char *
freed(void)
{
    char *p = umem_alloc(SIZE, UMEM_DEFAULT);

    umem_free(p, SIZE);
    return p;
}

static void
inside(void)
{
    ask(freed() + SIZE / 2, true);
    abort();
}

static void
last_page(void)
{
    ask(freed() + SIZE + 5, true);
    abort();
}

static void
nothing(void)
{
    char *p = freed();

    ask(p, false);
    ask(p - 1, true);
    ask(p + SIZE + os_page_size() + 16, true);
    ask(NULL, true);
    ask((char *)UINTPTR_MAX, true);
    abort();
}

static void
test_explained(void **state)
{
    char text[8192];

    (void)state;
    assert_dies(inside, "audit", "umem allocator: write after free of buffer\n");
    assert_dies(inside, "audit", ", offset 0x2625a1\nfreed by thread");
    assert_dies(inside, "guards", "cache: none (oversize)  requested: 5000003 bytes\n");
    assert_dies(last_page, "guards", "byte 6 past its end (offset 0x4c4b48)\n");
    (void)in_child(nothing, "audit", text, sizeof(text));
    assert_string_equal(text, "");
    (void)in_child(inside, NULL, text, sizeof(text)); /* nothing is kept without debugging */
    assert_string_equal(text, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explained),
        cmocka_unit_test(test_beside_a_writer),
        cmocka_unit_test(test_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
