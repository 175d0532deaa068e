/* SPDX-License-Identifier: MIT */
/*
 * test_watermark.c - how deep a stack went: every size, writes of any byte,
 * fills and pages, and what is told without either.
 */
#include "stacktest.h"

static void
test_filled_is_exact(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        char *base = stack_alloc(size);
        const size_t depths[] = {1, 7, 8, 9, 4096, size / 2 + 3, size - 1, size};
        assert_int_equal(stack_watermark(base, size, STACK_WATERMARK_FILL), 0);
        assert_int_equal(stack_highwater(base), 0);
        for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
            base[size - depths[i]] = 0; /* never the pattern's byte */
            assert_int_equal(stack_highwater(base + size / 3), depths[i]);
            assert_int_equal(stack_highwater(base - 1), depths[i]); /* from the guard */
        }
        assert_int_equal(stack_watermark(base, size, STACK_WATERMARK_FILL), 0);
        assert_int_equal(stack_highwater(base), 0);
        stack_free(base, size);
        /* The next user has no watermark. */
        assert_ptr_equal(stack_alloc(size), base);
        assert_int_equal(stack_highwater(base), size);
        assert_int_equal(stack_free(base, size), 0);
    }
}

static void
test_paged_is_exact_to_the_page(void **state)
{
    (void)state;
    const size_t size = 256 * KIB;
    char *base = stack_alloc(size);
    /* Once filled: that is forgotten. */
    assert_int_equal(stack_watermark(base, size, STACK_WATERMARK_FILL), 0);
    assert_int_equal(stack_watermark(base, size, STACK_WATERMARK_PAGES), 0);
    if (access("/proc/self/pagemap", R_OK) == 0) {
        assert_int_equal(stack_highwater(base), 0);
        base[size - 1] = 0;
        assert_int_equal(stack_highwater(base), PAGE);
        base[size - 5 * PAGE - 1] = 0;
        assert_int_equal(stack_highwater(base), 6 * PAGE);
    }
    base[0] = 0;
    assert_int_equal(stack_highwater(base), size);
    /* Nothing was written: reads as zeroes. */
    assert_int_equal(base[PAGE + 17], 0);
    stack_free(base, size);
}

static void
test_what_is_refused(void **state)
{
    (void)state;
    const size_t size = 64 * KIB;
    char *base = stack_alloc(size);
    int local;
    struct {
        void *address;
        size_t size;
        int how;
    } bad[] = {{base + PAGE, size, STACK_WATERMARK_FILL},
               {base, 2 * size, STACK_WATERMARK_FILL},
               {base, size, 0},
               {base, size, 3},
               {&local, size, STACK_WATERMARK_FILL},
               {NULL, size, STACK_WATERMARK_PAGES}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        errno = 0;
        assert_int_equal(
            stack_watermark(bad[i].address, bad[i].size, (enum stack_watermark_how)bad[i].how), -1);
        assert_int_equal(errno, EINVAL);
    }
    assert_int_equal(stack_highwater(&local), -1);
    if (!SANITIZED && mlock(base, size) == 0) {
        assert_int_equal(stack_watermark(base, size, STACK_WATERMARK_PAGES), -1);
        assert_int_equal(errno, EBUSY);
        munlock(base, size);
    }
    stack_free(base, size);
    assert_int_equal(stack_watermark(base, size, STACK_WATERMARK_FILL), -1);
}

/* Each stack of a size, whoever had it before. */
static void
child_configured(void *lazy)
{
    const size_t size = 128 * KIB;
    struct stack_config config = {.config_watermark = STACK_WATERMARK_FILL,
                                  .config_lazy = lazy != NULL};
    void *other;
    CHECK(stack_config(size, &config, sizeof(config)) == 0);
    config.config_watermark = STACK_WATERMARK_PAGES;
    CHECK(stack_config(64 * KIB, &config, sizeof(config)) == -1 && errno == EINVAL);
    for (size_t i = 1; i <= 20; i++) {
        char *base = stack_alloc(size);
        CHECK(base != NULL && stack_highwater(base) == 0);
        base[size - i * 1000] = 0;
        CHECK(stack_highwater(base) == (ssize_t)(i * 1000));
        CHECK(stack_name(base, "named") == 0 && stack_highwater(base) == (ssize_t)(i * 1000));
        CHECK((other = stack_alloc(size)) != NULL && stack_highwater(other) == 0);
        CHECK(stack_free(base, size) == 0 && stack_free(other, size) == 0);
        CHECK(is_refused(base, size));
    }
    /* Other sizes have none. */
    CHECK((other = stack_alloc(32 * KIB)) != NULL && stack_highwater(other) == 32 * KIB);
}

static void
test_configured(void **state)
{
    (void)state;
    must_succeed(child_configured, NULL);
    must_succeed(child_configured, &state);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configured), /* before there are stacks */
        cmocka_unit_test(test_filled_is_exact),
        cmocka_unit_test(test_paged_is_exact_to_the_page),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
