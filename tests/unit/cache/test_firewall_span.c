/* SPDX-License-Identifier: MIT */
/*
 * test_firewall_span.c - bodies: shared spans and single ones, the quarantine
 * and its bounds, a heap with a limit.
 */
#include "support.h"

#include "cache/firewall.h"

#define BLOCKS 3000

static void
take(size_t size, size_t align, struct umem_firewall_slot *slot)
{
    CHECK(umem_firewall_take(size, align, slot));
    slot->slot_block->fwb_base = slot->slot_body;
}

/* Every body is apart from the others, found from each of its bytes, and zeroed. */
static void
bodies(void)
{
    static struct umem_firewall_slot slot[BLOCKS];
    struct umem_firewall_slot found;
    size_t page = os_page_size();

    CHECK(umem_ready());
    for (int i = 0; i < BLOCKS; i++) {
        take((size_t)(i % 20) * page + 1, 16, &slot[i]);
        CHECK(slot[i].slot_size == (size_t)(i % 20 + 1) * page && slot[i].slot_body[0] == 0);
        memset(slot[i].slot_body, i, slot[i].slot_size);
    }
    for (int i = 0; i < BLOCKS; i++) {
        char *body = slot[i].slot_body, *last = body + slot[i].slot_size - 1;
        CHECK(*body == (char)i && *last == (char)i);
        CHECK(umem_firewall_find(last, pagemap_get(last), &found));
        CHECK(found.slot_block == slot[i].slot_block && found.slot_body == body);
        CHECK(!umem_firewall_find(last + 1, pagemap_get(last + 1), &found));
        CHECK(!umem_firewall_find(body - 1, pagemap_get(body - 1), &found));
    }
    CHECK(umem_firewall_verify() && umem_firewall_stats().fws_blocks == BLOCKS);
    for (int i = 0; i < BLOCKS; i++)
        umem_firewall_put(&slot[i]);
    CHECK(umem_firewall_verify() && umem_firewall_stats().fws_blocks == 0);
    CHECK(verify_caches());
    _exit(77);
}

/* The bounds hold, and spans that are wholly free go back to the heap. */
static void
quarantine(void)
{
    struct umem_firewall_slot slot;
    size_t before = 0;

    CHECK(umem_ready());
    for (int i = 0; i < 140000; i++) {
        take(10, 16, &slot);
        umem_firewall_put(&slot);
        if (i == 100000)
            before = vmem_size(&vmem_heap, VMEM_ALLOC);
    }
    CHECK(umem_firewall_stats().fws_quarantined > 1000);
    CHECK(umem_firewall_stats().fws_quarantined <= 65536);
    CHECK(vmem_size(&vmem_heap, VMEM_ALLOC) <= before + 2 * 60 * UMEM_GRANULE);
    size_t small = umem_firewall_stats().fws_quarantined;
    for (int i = 0; i < 25; i++) {
        take((size_t)50 << 20, 16, &slot);
        slot.slot_body[0] = 1;
        umem_firewall_put(&slot);
    }
    CHECK(umem_firewall_stats().fws_quarantined < small / 2);
    CHECK(umem_firewall_verify() && verify_caches());
    _exit(77);
}

static void
limited(void)
{
    setenv("UMEM_OPTIONS", "limit=64m", 1);
    CHECK(umem_ready());
    for (int i = 0; i < 100; i++) {
        void *p = umem_alloc(5 << 20, UMEM_DEFAULT);
        CHECK(p != NULL);
        umem_free(p, 5 << 20);
    }
    CHECK(umem_firewall_verify());
    _exit(77);
}

static void
too_large(void)
{
    struct umem_firewall_slot slot;

    CHECK(umem_ready());
    CHECK(!umem_firewall_take(SIZE_MAX - 10, 16, &slot));
    CHECK(!umem_firewall_take((size_t)PTRDIFF_MAX, 16, &slot));
    CHECK(!umem_firewall_take(10, (size_t)1 << 62, &slot));
    CHECK(umem_alloc((size_t)1 << 60, UMEM_DEFAULT) == NULL && errno == ENOMEM);
    CHECK(umem_firewall_verify() && umem_firewall_stats().fws_blocks == 0);
    _exit(77);
}

#define THREADS 4
#ifdef __SANITIZE_THREAD__
#define FORKS 0 /* to it the threads of the parent are leaks of the child */
#else
#define FORKS 10
#endif

static void *
churn(void *arg)
{
    void *held[64] = {NULL};
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < 5000; i++) {
        unsigned at = (unsigned)rand_r(&seed) % 64, size = (unsigned)rand_r(&seed) % 100000 + 1;
        if (held[at] != NULL)
            umem_free(held[at], SIZE_MAX);
        held[at] = umem_alloc(size, UMEM_DEFAULT);
        memset(held[at], 1, umem_min(size, 200));
    }
    for (int i = 0; i < 64; i++)
        umem_free(held[i], SIZE_MAX);
    return NULL;
}

static void
threads(void)
{
    pthread_t thread[THREADS];

    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, churn, (void *)i);
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            churn((void *)9);
            CHECK(umem_firewall_verify());
            _exit(0);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    CHECK(umem_firewall_verify() && umem_firewall_stats().fws_blocks == 0);
    _exit(77);
}

static void
test_spans(void **state)
{
    (void)state;
    assert_exits(bodies, NULL, 77);
    assert_exits(quarantine, NULL, 77);
    assert_exits(limited, "firewall=1000", 77);
    assert_exits(too_large, "firewall=1", 77);
    assert_exits(threads, "firewall=100", 77);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_spans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
