/* SPDX-License-Identifier: MIT */
/* test_choose.c - random flags: of every kind, by seed and name alone, beside what is asked for. */
#include "support.h"

#include "debug/debug.h"

#define SEEDS 256

static int
setup(void **state)
{
    (void)state;
    umem_options.opt_flags = 0;
    umem_options.opt_random = false;
    return 0;
}

static void
as_asked(void **state)
{
    (void)state;
    assert_int_equal(umem_debug_flags("anvil"), 0);
    umem_options.opt_flags = UMF_AUDIT | UMF_REDZONE;
    assert_int_equal(umem_debug_flags("anvil"), UMF_AUDIT | UMF_REDZONE);
}

static void
random_flags(void **state)
{
    unsigned with[4] = {0}, differ = 0;

    (void)state;
    umem_options.opt_random = true;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        umem_options.opt_random_seed = seed;
        uint32_t flags = umem_debug_flags("anvil");
        assert_int_equal(flags, umem_debug_flags("anvil"));
        assert_int_equal(flags & ~(uint32_t)UMF_DEBUG, 0);
        for (unsigned bit = 0; bit < 4; bit++)
            with[bit] += flags >> bit & 1;
        differ += flags != umem_debug_flags("rocket");
    }
    /* Half of the seeds, within five standard deviations of 8. */
    for (unsigned bit = 0; bit < 4; bit++)
        assert_in_range(with[bit], SEEDS / 2 - 40, SEEDS / 2 + 40);
    assert_in_range(differ, SEEDS * 3 / 4, SEEDS);
}

static void
beside_what_is_asked(void **state)
{
    (void)state;
    umem_options.opt_random = true;
    umem_options.opt_flags = UMF_AUDIT;
    for (umem_options.opt_random_seed = 1; umem_options.opt_random_seed <= SEEDS;
         umem_options.opt_random_seed++)
        assert_int_equal(umem_debug_flags("anvil") & UMF_AUDIT, UMF_AUDIT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(as_asked, setup),
        cmocka_unit_test_setup(random_flags, setup),
        cmocka_unit_test_setup(beside_what_is_asked, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
