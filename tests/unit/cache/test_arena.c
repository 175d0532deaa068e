/* SPDX-License-Identifier: MIT */
/*
 * test_arena.c - a program whose first call is vmem_create(): the layers
 * above are set up by it, quantum caches are there, and work.
 *
 * Here, and not in vmem, since that is what sets the layers above it up.
 */
#include <pthread.h>

#include "cache/cache.h"
#include "../vmem/support.h"

enum { THREADS = 3, ROUNDS = 20000, HELD = 64, UNITS = 8192 };

static vmem_t *vmp;
static _Atomic unsigned char owner[2 * UNITS];

/* Sizes that come from quantum caches and sizes that do not, each number to one owner at a time. */
static void *
hammer(void *arg)
{
    unsigned char self = (unsigned char)(uintptr_t)arg;
    uint64_t rng = 0x2545f491 * (uint64_t)self;
    uintptr_t held[HELD] = {0};
    size_t sizes[HELD] = {0}, errors = 0;

    for (int round = 0; round < ROUNDS + HELD; round++) {
        size_t slot = round < ROUNDS ? random_next(&rng) % HELD : (size_t)(round - ROUNDS);
        if (held[slot] != 0) {
            for (size_t i = 0; i < sizes[slot]; i++)
                errors += atomic_exchange(&owner[held[slot] + i], 0) != self;
            vmem_free(vmp, PTR(held[slot]), sizes[slot]);
            held[slot] = 0;
        } else if (round < ROUNDS) {
            sizes[slot] = 1 + random_next(&rng) % 8;
            held[slot] = NUM(vmem_alloc(vmp, sizes[slot], 0));
            for (size_t i = 0; held[slot] != 0 && i < sizes[slot]; i++)
                errors += atomic_exchange(&owner[held[slot] + i], self) != 0;
        }
    }
    return (void *)errors;
}

static void
test_quantum_caches(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    assert_int_equal(umem_state, UMEM_STATE_NEW);
    vmp = vmem_create("ids", PTR(UNITS), UNITS, 1, NULL, NULL, NULL, 5, 0);
    assert_non_null(vmp);
    assert_int_equal(umem_state, UMEM_STATE_READY);
    assert_int_equal(vmp->vm_qcaches, 5);
    struct umem_cache *last = vmp->vm_qcache[4];
    assert_string_equal(last->cache_name, "ids_5");
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, PTR(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *errors;
        pthread_join(threads[i], &errors);
        assert_int_equal(NUM(errors), 0);
    }
    assert_true(vmem_verify(vmp));
    assert_true(last->cache_slabs.pool_creates > 0);
    /* Slabs come from the segments, never from another quantum cache. */
    assert_true(last->cache_slabs.pool_slab_size > vmp->vm_qcache_max);
    vmem_destroy(vmp);
}

/* A program's handler: registered after the engine's own, so run before them, with nothing held. */
static bool used_at_fork;

static void
use_arena(void)
{
    vmem_t *arena = vmem_create("prepare", PTR(1), 100, 1, NULL, NULL, NULL, 4, 0);

    used_at_fork = !umem_lock_is_held(&vmem_arenas_lock) && arena != NULL;
    vmem_destroy(arena);
}

static void
fork_child_uses_arena(void)
{
    vmem_t *arena = vmem_create("child", PTR(1), 100, 1, NULL, NULL, NULL, 4, 0);
    void *a = arena != NULL ? vmem_alloc(arena, 2, 0) : NULL;

    if (a == NULL)
        _exit(1);
    vmem_free(arena, a, 2);
    vmem_destroy(arena);
    _exit(42);
}

/* A fork leaves every lock free on both sides. */
/* An object is found in whichever cache it is, also where no page map knows of its slab. */
static void
test_slab_is_found(void **state)
{
    static char memory[1 << 20] __attribute__((aligned(4096)));
    vmem_t *arena = vmem_create("own", memory, sizeof(memory), 4096, NULL, NULL, NULL, 0, 0);
    umem_cache_t *cp = umem_cache_create("own", 40, 0, NULL, NULL, NULL, NULL, arena, 0);
    umem_cache_t *other = umem_cache_create("other", 40, 0, NULL, NULL, NULL, NULL, NULL, 0);
    char *obj = umem_cache_alloc(cp, UMEM_DEFAULT), *far = umem_cache_alloc(other, UMEM_DEFAULT);

    (void)state;
    assert_true(obj >= memory && obj < memory + sizeof(memory));
    assert_ptr_equal(umem_cache_find_slab(obj)->slab_pool, &cp->cache_slabs);
    assert_ptr_equal(umem_cache_find_slab(obj + 1)->slab_pool, &cp->cache_slabs);
    assert_ptr_equal(umem_cache_find_slab(far)->slab_pool, &other->cache_slabs);
    assert_null(umem_cache_find_slab(memory + sizeof(memory)));
    assert_null(umem_cache_find_slab(NULL));
    umem_cache_free(cp, obj);
    umem_cache_free(other, far);
    umem_cache_destroy(cp);
    umem_cache_destroy(other);
    vmem_destroy(arena);
}

static void
test_fork_handlers(void **state)
{
    char text[256];
    int status = run_in_child(fork_child_uses_arena, text, sizeof(text));

    (void)state;
    assert_string_equal(text, ""); /* nothing left in the arena either */
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_true(used_at_fork);
    assert_false(umem_lock_is_held(&vmem_arenas_lock));
    assert_false(umem_lock_is_held(&vmem_heap.vm_lock));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantum_caches),
        cmocka_unit_test(test_slab_is_found),
        cmocka_unit_test(test_fork_handlers),
    };
    pthread_atfork(use_arena, NULL, NULL);
    return cmocka_run_group_tests_name("vmem/first_use", tests, NULL, NULL);
}
