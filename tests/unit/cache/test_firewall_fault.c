/* SPDX-License-Identifier: MIT */
/*
 * test_firewall_fault.c - which block an address that cannot be accessed
 * belongs to: asked without a fault.
 */
#include "support.h"

#include "cache/firewall.h"

static void
ask(const char *addr)
{
    struct os_fault fault = {.fault_addr = (uintptr_t)addr, .fault_access = OS_ACCESS_READ};

    (void)umem_firewall_explain(&fault);
}

static char *first, *second;
static size_t page;

static void
allocate(void)
{
    page = os_page_size();
    first = umem_alloc(64, UMEM_DEFAULT);
    second = umem_alloc(64, UMEM_DEFAULT);
}

static void
past_end(void)
{
    allocate();
    ask(first + 64 + 9);
    abort();
}

static void
before_start(void)
{
    allocate();
    ask(second - 1);
    abort();
}

static void
after_free(void)
{
    allocate();
    umem_free(first, 64);
    ask(first + 8);
    abort();
}

/* Between a freed block and a live one it is the live one's, whichever side that is. */
static void
live_one(void)
{
    allocate();
    umem_free(first, 64);
    ask((char *)umem_align_down((uintptr_t)second, page) - 8);
    abort();
}

static void
nothing(void)
{
    allocate();
    ask(NULL);
    ask((char *)1);
    ask((char *)&page);
    ask((char *)UINTPTR_MAX);
    ask(first);                   /* live */
    ask(second + 64 + 10 * page); /* between bodies that nobody has used */
    abort();
}

static void
test_explained(void **state)
{
    char text[8192];

    (void)state;
    assert_dies(past_end, "firewall=1", "umem allocator: firewall: read past end of buffer\n");
    assert_dies(past_end, "firewall=1", "byte 10 past its end (offset 0x49)\n");
    assert_dies(before_start, "firewall=below:1",
                "umem allocator: firewall: read before start of buffer\n");
    assert_dies(before_start, "firewall=below:1", "byte 1 before its start\n");
    assert_dies(after_free, "firewall=1", "umem allocator: firewall: read after free of buffer\n");
    assert_dies(after_free, "firewall=1", ", offset 0x8\nfreed by thread");
    assert_dies(live_one, "firewall=1", "read before start of buffer\n");
    (void)in_child(nothing, "firewall=1", text, sizeof(text));
    assert_string_equal(text, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_explained)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
