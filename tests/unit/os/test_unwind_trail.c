/* SPDX-License-Identifier: MIT */
/*
 * test_unwind_trail.c - os_unwind_trail() against os_unwind(), which knows no
 * walk but its own: stacks that grow and shrink at random, frames of every
 * shape, calls from other lines of the same frame, signals, stacks deeper than
 * what is asked for, other stacks, modules that come and go.  And notes, which
 * must be of the very stack that they were left on.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <alloca.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "base/base.h"
#include "os/unwind.h"
#include "unwind_shapes.h"

#define FRAMES_MAX 128
#define NOTES_MAX (1 << 20)

#if defined(__x86_64__)

static struct os_trail trail; /* of the main thread */
static unsigned walks, differing, wrong_notes, refused, kept_notes;

/* The stacks that notes were left on. */
static uint64_t noted[NOTES_MAX];
static uint32_t notes;

static void
reset(void)
{
    walks = differing = wrong_notes = refused = kept_notes = 0;
}

static uint64_t
hash_of(const uintptr_t *frames, uint32_t n)
{
    uint64_t hash = n;

    for (uint32_t i = 0; i < n; i++)
        hash = umem_hash64(hash ^ frames[i]);
    return hash;
}

/* Looks at the note of a stack, or leaves one. */
static void
check_note(struct os_trail *t, uint32_t node, const uintptr_t *frames, uint32_t n)
{
    uint32_t *note = &t->trail_node[node].node_note;

    if (*note != 0) {
        kept_notes++;
        wrong_notes += noted[*note] != hash_of(frames, n);
    } else if (notes + 1 < NOTES_MAX) {
        *note = ++notes;
        noted[notes] = hash_of(frames, n);
    }
}

static void
check_on(struct os_trail *t, uint32_t max)
{
    uintptr_t frames[FRAMES_MAX], by_trail[FRAMES_MAX + 1];
    uint32_t n = os_unwind(frames, max, 0);
    uint32_t node = os_unwind_trail(t, max + 1, NULL);

    walks++;
    if (node == 0) {
        refused++;
        return;
    }
    uint32_t m = os_trail_frames(t, node, by_trail);
    /* It begins in here. */
    if (m != n + 1 || memcmp(frames, by_trail + 1, n * sizeof(*frames)) != 0)
        differing++;
    check_note(t, node, by_trail, m);
}

static __attribute__((noinline)) void
check(void)
{
    check_on(&trail, FRAMES_MAX);
    __asm__ volatile("" ::: "memory");
}

static void
shapes(void **state)
{
    (void)state;
    reset();
    for (int i = 0; i < 3; i++)
        every_shape(check);
    assert_true(walks > 100);
    assert_int_equal(differing, 0);
    assert_int_equal(wrong_notes, 0);
    assert_true(refused < walks / 2);
}

/* Frames of two sizes and one without a fixed size, each with calls from several lines. */
static void wander(unsigned depth);

static __attribute__((noinline)) void
small(unsigned depth)
{
    if (random_next() % 2 == 0)
        wander(depth);
    else
        wander(depth);
    if (random_next() % 8 == 0)
        check();
    __asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void
wide(unsigned depth)
{
    volatile char room[200];

    room[0] = 1;
    wander(depth);
    check();
    room[199] = room[0];
    for (volatile int i = 0; i < 3; i++) /* one call, not three */
        check();
}

static __attribute__((noinline)) void
flexible(unsigned depth)
{
    volatile char *room = alloca(random_next() % 500 + 1);

    room[0] = 1;
    wander(depth);
    wander(depth / 2);
    room[0]++;
}

static __attribute__((noinline)) void
wander(unsigned depth)
{
    if (depth == 0) {
        check();
        return;
    }
    switch (random_next() % 8) {
    case 0:
        flexible(depth - 1);
        break;
    case 1:
    case 2:
        wide(depth - 1);
        break;
    case 3:
        shapes_o2.recurse((unsigned)(random_next() % 4), check);
        break;
    default:
        small(depth - 1);
    }
    __asm__ volatile("" ::: "memory");
}

static void
wanders(void **state)
{
    (void)state;
    reset();
    for (int i = 0; i < 4000; i++)
        wander((unsigned)(random_next() % 24));
    assert_true(walks > 10000);
    assert_true(kept_notes > 100);
    assert_int_equal(differing, 0);
    assert_int_equal(wrong_notes, 0);
    assert_int_equal(refused, 0);
}

/* Deeper than what is asked for: the outer end moves too. */
static unsigned shallow_max;

static void
check_some(void)
{
    check_on(&trail, shallow_max);
}

static void
deep(void **state)
{
    (void)state;
    reset();
    for (int i = 0; i < 2000; i++) {
        shallow_max = 1 + (unsigned)(random_next() % 60);
        shapes_o2.recurse((unsigned)(random_next() % 300), check_some);
        if (i % 16 == 0)
            wander(8);
    }
    assert_int_equal(differing, 0);
    assert_int_equal(refused, 0);
}

static void
on_signal(int sig)
{
    (void)sig;
    check();
}

static void
raise_usr1(void)
{
    raise(SIGUSR1);
    check();
}

static void
signals(void **state)
{
    struct sigaction action = {.sa_handler = on_signal};

    (void)state;
    reset();
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    for (int i = 0; i < 3; i++) {
        shapes_o2.recurse(20, raise_usr1);
        wander(10);
        shapes_o2.recurse(20, raise_usr1);
    }
    assert_int_equal(differing, 0);
    assert_int_equal(wrong_notes, 0);
}

/* Not on another stack: nobody knows how long it stays. */
static void
other_stacks(void **state)
{
    const size_t size = 1 << 20;
    char *stack = malloc(size);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    stack_t alternate = {.ss_sp = stack, .ss_size = size}, none = {.ss_flags = SS_DISABLE};

    (void)state;
    reset();
    assert_non_null(stack);
    check();
    call_on_stack(check, stack + size);
    assert_int_equal(refused, 1);
    assert_int_equal(sigaltstack(&alternate, NULL), 0);
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    raise(SIGUSR1);
    assert_int_equal(refused, 2);
    assert_int_equal(sigaltstack(&none, NULL), 0);
    wander(10);
    assert_int_equal(differing, 0);
    assert_int_equal(refused, 2);
    free(stack);
}

/* A trail that another thread left, whose stack may have been at the same place. */
static void *
thread_main(void *arg)
{
    uint32_t max = FRAMES_MAX;

    for (int i = 0; i < 10; i++, max--)
        check_on(arg, max);
    return NULL;
}

static void
threads(void **state)
{
    static struct os_trail shared;
    pthread_t thread;

    (void)state;
    reset();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pthread_create(&thread, NULL, thread_main, &shared), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        thread_main(&shared);
    }
    assert_int_equal(differing, 0);
    assert_int_equal(refused, 0);
}

/* Other code at the address of the old: as soon as os_unwind() knows, the trail must. */
static void
modules(void **state)
{
    (void)state;
    if (module_path[1] == NULL)
        skip();
    reset();
    for (int i = 0; i < 20; i++) {
        void *module = dlopen(module_path[i % 2], RTLD_NOW | RTLD_LOCAL);
        assert_non_null(module);
        void (*call)(void (*)(void)) =
            (void (*)(void (*)(void)))(uintptr_t)dlsym(module, "module_call");
        for (int j = 0; j < 5; j++)
            call(check);
        dlclose(module);
        check();
    }
    assert_int_equal(differing, 0);
    assert_int_equal(wrong_notes, 0);
}

/* A walk that begins further out. */
static __attribute__((noinline)) void
inner(const void *frame)
{
    uintptr_t frames[FRAMES_MAX], by_trail[FRAMES_MAX + 1];
    uint32_t n = os_unwind(frames, FRAMES_MAX, 0), first = 0;

    for (int i = 0; i < 3; i++) {
        uint32_t node = os_unwind_trail(&trail, FRAMES_MAX + 1, frame);
        if (i == 0)
            first = node;
        assert_int_equal(node, first); /* the same stack is the same node */
        uint32_t m = os_trail_frames(&trail, node, by_trail);
        /* os_unwind() has the call in outer() before. */
        assert_int_equal(m, n - 1);
        assert_memory_equal(frames + 1, by_trail, m * sizeof(*frames));
        check();
    }
}

static __attribute__((noinline)) void
outer(void)
{
    inner(__builtin_frame_address(0));
    __asm__ volatile("" ::: "memory");
}

static void
begins_further_out(void **state)
{
    (void)state;
    shapes_o2.recurse(10, outer);
    outer();
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),       cmocka_unit_test(wanders),
        cmocka_unit_test(deep),         cmocka_unit_test(signals),
        cmocka_unit_test(other_stacks), cmocka_unit_test(threads),
        cmocka_unit_test(modules),      cmocka_unit_test(begins_further_out),
    };

    take_modules(argc, argv);
    return cmocka_run_group_tests_name("os/unwind_trail", tests, NULL, NULL);
}

#else

int
main(void)
{
    static struct os_trail trail;

    return os_unwind_trail(&trail, 1, NULL) == 0 ? 0 : 1;
}

#endif
