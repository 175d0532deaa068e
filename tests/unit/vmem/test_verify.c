/* SPDX-License-Identifier: MIT */
/*
 * test_verify.c - vmem_verify() sees what is wrong: one damage at a time, done
 * and undone.
 */
#include "support.h"

static vmem_t *vmp;

static struct vmem_seg *
nth_seg(int n)
{
    struct umem_list *order = vmp->vm_order.next;

    while (n-- > 0)
        order = order->next;
    assert_ptr_not_equal(order, &vmp->vm_order);
    return UMEM_CONTAINER_OF(order, struct vmem_seg, seg_order);
}

#define ASSERT_SEEN(lvalue, wrong)                                                                 \
    do {                                                                                           \
        __typeof__(lvalue) saved_ = (lvalue);                                                      \
        assert_true(vmem_verify(vmp));                                                             \
        (lvalue) = (wrong);                                                                        \
        assert_false(vmem_verify(vmp));                                                            \
        (lvalue) = saved_;                                                                         \
        assert_true(vmem_verify(vmp));                                                             \
    } while (0)

static void
test_damage(void **state)
{
    (void)state;
    vmp = numbers(0x1000, 0x4000, 0x1000, VM_NEXTFIT);
    assert_non_null(vmem_add(vmp, PTR(0x10000), 0x3000, 0));
    assert_int_equal(NUM(vmem_alloc(vmp, 0x1000, 0)), 0x1000);
    /* span, allocated, free, span, free */
    struct vmem_seg *span = nth_seg(0), *taken = nth_seg(1), *rest = nth_seg(2);
    struct vmem_seg *span2 = nth_seg(3), *rest2 = nth_seg(4);
    assert_int_equal(span->seg_type, VMEM_SEG_SPAN);
    assert_int_equal(taken->seg_type, VMEM_SEG_ALLOC);
    assert_int_equal(rest->seg_type, VMEM_SEG_FREE);
    assert_int_equal(span2->seg_type, VMEM_SEG_SPAN);
    assert_int_equal(rest2->seg_type, VMEM_SEG_FREE);

    ASSERT_SEEN(taken->seg_end, 0x3000);          /* overlaps the next */
    ASSERT_SEEN(taken->seg_end, 0x1800);          /* no quantum */
    ASSERT_SEEN(taken->seg_end, 0x1000);          /* empty */
    ASSERT_SEEN(rest->seg_start, 0x3000);         /* a gap */
    ASSERT_SEEN(rest2->seg_end, 0x12000);         /* does not reach the end of its span */
    ASSERT_SEEN(taken->seg_type, VMEM_SEG_FREE);  /* on no free list; two free in a row */
    ASSERT_SEEN(rest2->seg_type, VMEM_SEG_ALLOC); /* in no hash */
    ASSERT_SEEN(rest2->seg_type, 7);
    ASSERT_SEEN(span2->seg_start, 0x3000);  /* in the other span */
    ASSERT_SEEN(span2->seg_import, 1);      /* imported: the sum does not say so */
    ASSERT_SEEN(span->seg_child[0], span2); /* the wrong side of the tree, or twice in it */
    ASSERT_SEEN(vmp->vm_spans, NULL);
    ASSERT_SEEN(vmp->vm_freemap, 0);
    ASSERT_SEEN(vmp->vm_freemap, ~0ul);
    ASSERT_SEEN(vmp->vm_stats.vms_inuse, 0);
    ASSERT_SEEN(vmp->vm_stats.vms_total, 0);
    ASSERT_SEEN(vmp->vm_stats.vms_allocs, 2);
    ASSERT_SEEN(vmp->vm_stats.vms_import, 0x1000);
    ASSERT_SEEN(vmp->vm_hash_used, 2);
    ASSERT_SEEN(vmp->vm_hash_size, 1); /* looks in other buckets */
    ASSERT_SEEN(vmp->vm_kept_span, span);
    ASSERT_SEEN(vmp->vm_rotor.cursor_addr, 0); /* the tag it is at starts behind it */
    ASSERT_SEEN(rest->seg_order.prev, &span->seg_order);

    vmem_free(vmp, PTR(0x1000), 0x1000);
    vmem_destroy(vmp);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_damage)};
    return cmocka_run_group_tests_name("vmem/verify", tests, NULL, NULL);
}
