/* SPDX-License-Identifier: MIT */
/*
 * test_tag.c - boundary tags: reused, shared between arenas, and never missed
 * halfway.
 */
#include "os/meta.h"
#include "support.h"
#include "vmem/private.h"

static void
test_needed(void **state)
{
    vmem_t *vmp = vmem_new("tags", NULL, 0, 1, NULL, NULL, NULL, 0, 0);

    (void)state;
    assert_non_null(vmp);
    assert_int_equal(vmp->vm_tag_count, 0); /* none before they are needed */
    assert_true(vmem_lock_with_tags(vmp));
    assert_true(vmp->vm_tag_count >= VMEM_TAGS_NEEDED);
    umem_lock_release(&vmp->vm_lock);
    vmem_destroy(vmp);
}

/* What one arena has done with is there for others; an arena does not hoard. */
static void
test_shared(void **state)
{
    enum { N = 20000 };
    static void *held[N];
    size_t mapped = 0;

    (void)state;
    vmem_t *vmp[2] = {numbers(1, N, 1, 0), numbers(1, N, 1, 0)};
    for (int round = 0; round < 6; round++) {
        vmem_t *arena = vmp[round % 2];
        for (size_t i = 0; i < N; i++)
            assert_non_null(held[i] = vmem_alloc(arena, 1, 0));
        for (size_t i = 0; i < N; i++)
            vmem_free(arena, held[i], 1);
        assert_true(arena->vm_tag_count < 64);
        if (round == 1)
            mapped = umem_meta_mapped();
    }
    assert_int_equal(umem_meta_mapped(), mapped);
    vmem_destroy(vmp[0]);
    vmem_destroy(vmp[1]);
}

/* Out of memory at any point: NULL with ENOMEM, the arena whole, and freeing needs none. */
static void
exhaust(void)
{
    static void *held[100000];
    vmem_t *vmp = numbers(0x10, (size_t)0x10 * 200000, 0x10, 0);
    unsigned long pages = 0;
    size_t n = 0;

    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%lu", &pages) != 1)
        _exit(2);
    fclose(statm);
    rlim_t limit = pages * (rlim_t)sysconf(_SC_PAGESIZE) + 300000;
    setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit});
    errno = 0;
    while (n < UMEM_ARRAY_SIZE(held) && (held[n] = vmem_alloc(vmp, 0x20, 0)) != NULL)
        n++;
    if (n < 1000 || n == UMEM_ARRAY_SIZE(held) || errno != ENOMEM || !vmem_verify(vmp))
        _exit(3);
    if (vmp->vm_stats.vms_fails != 1 || vmem_add(vmp, PTR(0x10000000), 0x10, 0) != NULL)
        _exit(4);
    if (vmem_resize(vmp, held[0], 0x20, 0x10) || !vmem_verify(vmp)) /* would need a tag */
        _exit(5);
    errno = 0;
    if (vmem_new("y", PTR(0x10), 0x10, 0x10, NULL, NULL, NULL, 0, 0) != NULL || errno != ENOMEM)
        _exit(6);
    while (n > 0)
        vmem_free(vmp, held[--n], 0x20);
    _exit(vmem_verify(vmp) && vmem_size(vmp, VMEM_ALLOC) == 0 ? 42 : 7);
}

static void
test_no_memory(void **state)
{
    char text[256];

    (void)state;
    if (UNDER_SANITIZER)
        skip();
    int status = run_in_child(exhaust, text, sizeof(text));
    assert_string_equal(text, "");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needed),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("vmem/tag", tests, NULL, NULL);
}
