/* SPDX-License-Identifier: MIT */
/*
 * test_hash.c - the hash of allocated segments: it grows and shrinks with
 * them, a little at a time, and loses none meanwhile.
 */
#include "support.h"

enum { MANY = 100000 };

/* The most that one bucket holds. */
static size_t
longest_chain(const vmem_t *vmp)
{
    size_t longest = 0;

    for (size_t i = 0; i < vmp->vm_hash_size; i++) {
        size_t length = 0;
        UMEM_LIST_FOR (link, &vmp->vm_hash[i]) {
            length++;
        }
        longest = length > longest ? length : longest;
    }
    return longest;
}

static void
test_rescale(void **state)
{
    static void *addr[MANY];
    vmem_t *vmp = numbers(0x1000, MANY * 0x1000ul, 0x1000, 0);
    size_t rescales = 0, size = vmp->vm_hash_size;

    (void)state;
    assert_int_equal(size, VMEM_HASH_INITIAL);
    for (size_t i = 0; i < MANY; i++) {
        assert_non_null(addr[i] = vmem_alloc(vmp, 0x1000, 0));
        rescales += vmp->vm_hash_size != size;
        size = vmp->vm_hash_size;
        /* In the middle of a move, everything is found. */
        if (vmp->vm_hash_old != NULL && i % 5003 == 0)
            assert_true(vmem_verify(vmp));
        assert_true(vmp->vm_hash_used <= 2 * vmp->vm_hash_size + 1);
    }
    assert_true(vmem_verify(vmp));
    assert_int_equal(size, 65536);
    assert_int_equal(rescales, 12);
    assert_null(vmp->vm_hash_old);
    assert_true(longest_chain(vmp) < 16);

    uint64_t rng = 99;
    for (size_t i = MANY; i-- > 0;) {
        size_t j = random_next(&rng) % (i + 1);
        void *swap = addr[j];
        addr[j] = addr[i];
        vmem_free(vmp, swap, 0x1000);
        if (i % 9973 == 0)
            assert_true(vmem_verify(vmp));
    }
    assert_true(vmem_verify(vmp));
    assert_true(vmp->vm_hash_size <= 64); /* the last halvings wait for operations */
    for (int i = 0; i < 100; i++)
        vmem_free(vmp, vmem_alloc(vmp, 0x1000, 0), 0x1000);
    assert_int_equal(vmp->vm_hash_size, VMEM_HASH_INITIAL);
    assert_ptr_equal(vmp->vm_hash, vmp->vm_hash0);
    assert_null(vmp->vm_hash_old);
    vmem_destroy(vmp);
}

/* Up and down over the same threshold: the table does not flap. */
static void
test_hysteresis(void **state)
{
    void *addr[40];
    vmem_t *vmp = numbers(1, 1000, 1, 0);
    size_t changes = 0, size = vmp->vm_hash_size;

    (void)state;
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 40; i++) {
            addr[i] = vmem_alloc(vmp, 1, 0);
            changes += vmp->vm_hash_size != size;
            size = vmp->vm_hash_size;
        }
        for (int i = 0; i < 35; i++) {
            vmem_free(vmp, addr[i], 1);
            changes += vmp->vm_hash_size != size;
            size = vmp->vm_hash_size;
        }
        for (int i = 35; i < 40; i++)
            vmem_free(vmp, addr[i], 1);
        while (vmem_size(vmp, VMEM_ALLOC) < 5)
            addr[vmem_size(vmp, VMEM_ALLOC)] = vmem_alloc(vmp, 1, 0);
        for (int i = 0; i < 5; i++)
            vmem_free(vmp, addr[i], 1);
        size = vmp->vm_hash_size;
    }
    /* One doubling a round, as the table is really too large in between. */
    assert_true(changes <= 100);
    assert_true(vmem_verify(vmp));
    vmem_destroy(vmp);
}

/* --- No memory for a table is no failure of the allocation. --- */

static rlim_t memory_left;
enum { CROWDED = 42, FAILED_AT_ONCE = 43 };

static void
exhaust(void)
{
    static void *addr[4 * MANY];
    size_t n = 0;
    unsigned long pages = 0;
    vmem_t *vmp = numbers(0x1000, (size_t)UMEM_ARRAY_SIZE(addr) * 0x1000, 0x1000, 0);

    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%lu", &pages) != 1)
        _exit(2);
    fclose(statm);
    rlim_t limit = pages * (rlim_t)sysconf(_SC_PAGESIZE) + memory_left;
    setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit});
    errno = 0;
    while (n < UMEM_ARRAY_SIZE(addr) && (addr[n] = vmem_alloc(vmp, 0x1000, 0)) != NULL)
        n++;
    if (n == UMEM_ARRAY_SIZE(addr) || errno != ENOMEM || !vmem_verify(vmp))
        _exit(3);
    bool crowded = vmp->vm_hash_used > 2 * vmp->vm_hash_size + 1000;
    errno = 1234;
    while (n > 0)
        vmem_free(vmp, addr[--n], 0x1000); /* needs no memory, and keeps errno */
    if (errno != 1234 || !vmem_verify(vmp) || vmem_size(vmp, VMEM_ALLOC) != 0)
        _exit(4);
    _exit(crowded ? CROWDED : FAILED_AT_ONCE);
}

/*
 * With so much memory left and so much, 100 kB apart: one of them is between
 * what the tags for the next segments take and what a larger table does.
 */
static void
test_no_memory_for_table(void **state)
{
    char text[256];
    int crowded = 0;

    (void)state;
    if (UNDER_SANITIZER)
        skip();
    for (memory_left = 2000000; memory_left < 3200000; memory_left += 100000) {
        int status = run_in_child(exhaust, text, sizeof(text));
        assert_string_equal(text, "");
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == CROWDED)
            crowded++;
        else
            assert_int_equal(WEXITSTATUS(status), FAILED_AT_ONCE);
    }
    assert_true(crowded > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rescale),
        cmocka_unit_test(test_hysteresis),
        cmocka_unit_test(test_no_memory_for_table),
    };
    return cmocka_run_group_tests_name("vmem/hash", tests, NULL, NULL);
}
