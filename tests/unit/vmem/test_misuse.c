/* SPDX-License-Identifier: MIT */
/*
 * test_misuse.c - what the caller does wrong: the exact message, then SIGABRT.
 */
#include "support.h"

static vmem_t *vmp;

static int
setup(void **state)
{
    (void)state;
    vmp = vmem_new("x", PTR(0x10000), 0x10000, 0x1000, NULL, NULL, NULL, 0, VM_FIRSTFIT);
    assert_int_equal(NUM(vmem_alloc(vmp, 0x2000, 0)), 0x10000);
    assert_int_equal(NUM(vmem_alloc(vmp, 0x1000, 0)), 0x12000);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    assert_true(vmem_verify(vmp));
    vmem_free(vmp, PTR(0x10000), 0x2000);
    vmem_free(vmp, PTR(0x12000), 0x1000);
    vmem_destroy(vmp);
    return 0;
}

static void
free_foreign(void)
{
    vmem_free(vmp, PTR(0x80000), 0x1000);
}

static void
free_null(void)
{
    vmem_xfree(vmp, NULL, 0x1000);
}

static void
free_twice(void)
{
    vmem_free(vmp, PTR(0x12000), 0x1000);
    vmem_free(vmp, PTR(0x12000), 0x1000);
}

static void
free_inside(void)
{
    vmem_xfree(vmp, PTR(0x11000), 0x1000);
}

static void
free_smaller(void)
{
    vmem_free(vmp, PTR(0x10000), 0x1000);
}

static void
free_larger(void)
{
    vmem_xfree(vmp, PTR(0x12000), 0x1001);
}

static void
free_nothing(void)
{
    vmem_free(vmp, PTR(0x12000), 0);
}

static void
resize_free(void)
{
    vmem_resize(vmp, PTR(0x13000), 0x1000, 0x2000);
}

static void
resize_wrong_size(void)
{
    vmem_resize(vmp, PTR(0x12000), 0x2000, 0x3000);
}

static void
test_bad_free(void **state)
{
    (void)state;
    assert_dies(free_foreign, "umem: vmem_free(arena 'x', 0x80000, 4096): not allocated here: in "
                              "no span of it\n");
    assert_dies(free_null, "umem: vmem_xfree(arena 'x', 0x0, 4096): not allocated here: in no span "
                           "of it\n");
    assert_dies(free_twice, "umem: vmem_free(arena 'x', 0x12000, 4096): not allocated here: free "
                            "already\n");
    assert_dies(free_inside, "umem: vmem_xfree(arena 'x', 0x11000, 4096): not allocated here: "
                             "inside the segment at 0x10000 of 8192\n");
}

static void
test_bad_size(void **state)
{
    (void)state;
    assert_dies(free_smaller,
                "umem: vmem_free(arena 'x', 0x10000, 4096): allocated with size 8192\n");
    assert_dies(free_larger,
                "umem: vmem_xfree(arena 'x', 0x12000, 4097): allocated with size 4096\n");
    assert_dies(free_nothing, "umem: vmem_free(arena 'x', 0x12000, 0): allocated with size 4096\n");
}

static void
test_bad_resize(void **state)
{
    (void)state;
    assert_dies(resize_free, "umem: vmem_resize(arena 'x', 0x13000, 4096): not allocated here: "
                             "free already\n");
    assert_dies(resize_wrong_size,
                "umem: vmem_resize(arena 'x', 0x12000, 8192): allocated with size 4096\n");
}

static void
add_misaligned(void)
{
    vmem_add(vmp, PTR(0x40800), 0x1000, 0);
}

static void
add_odd_size(void)
{
    vmem_add(vmp, PTR(0x40000), 0x1800, 0);
}

static void
add_overlapping(void)
{
    vmem_add(vmp, PTR(0xf000), 0x2000, 0);
}

static void
add_within(void)
{
    vmem_add(vmp, PTR(0x1f000), 0x1000, 0);
}

static void
add_around(void)
{
    vmem_add(vmp, PTR(0x1000), 0x100000, 0);
}

static void
test_bad_add(void **state)
{
    (void)state;
    assert_dies(add_misaligned, "umem: vmem_add(arena 'x', 0x40800, 4096): not a multiple of the "
                                "quantum 4096\n");
    assert_dies(add_odd_size, "umem: vmem_add(arena 'x', 0x40000, 6144): not a multiple of the "
                              "quantum 4096\n");
    assert_dies(add_overlapping, "umem: vmem_add(arena 'x', 0xf000, 8192): overlaps the span at "
                                 "0x10000 of 65536\n");
    assert_dies(add_within, "umem: vmem_add(arena 'x', 0x1f000, 4096): overlaps the span at "
                            "0x10000 of 65536\n");
    assert_dies(add_around, "umem: vmem_add(arena 'x', 0x1000, 1048576): overlaps the span at "
                            "0x10000 of 65536\n");
}

/* A source that hands out what the arena cannot have. */
static uintptr_t import_addr;
static void *
import(vmem_t *source, size_t size, int vmflag)
{
    (void)source;
    (void)size;
    (void)vmflag;
    return PTR(import_addr);
}

static void
import_it(void)
{
    vmem_t *importer = vmem_new("i", PTR(0x1000), 0x1000, 0x1000, import, NULL, NULL, 0, 0);
    vmem_alloc(importer, 0x2000, 0);
}

static void
test_bad_import(void **state)
{
    (void)state;
    import_addr = 0x800;
    assert_dies(import_it,
                "umem: vmem arena 'i': imported 0x800, 8192: not a multiple of the quantum 4096\n");
    import_addr = UINTPTR_MAX - 0xfff;
    assert_dies(import_it, sizeof(void *) == 8
                               ? "umem: vmem arena 'i': imported 0xfffffffffffff000, 8192: not a "
                                 "multiple of the quantum 4096\n"
                               : "umem: vmem arena 'i': imported 0xfffff000, 8192: not a multiple "
                                 "of the quantum 4096\n");
    import_addr = 0x1000;
    assert_dies(import_it, "umem: vmem arena 'i': imported 0x1000, 8192, which it has already\n");
}

static void
destroy_heap(void)
{
    vmem_destroy(the_heap());
}

static void
test_destroy_heap(void **state)
{
    (void)state;
    assert_dies(destroy_heap,
                "umem: vmem_destroy(arena 'umem_heap'): the heap cannot be destroyed\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_free, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_resize, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_add, setup, teardown),
        cmocka_unit_test(test_bad_import),
        cmocka_unit_test(test_destroy_heap),
    };
    return cmocka_run_group_tests_name("vmem/misuse", tests, NULL, NULL);
}
