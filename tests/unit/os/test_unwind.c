/* SPDX-License-Identifier: MIT */
/*
 * test_unwind.c - os_unwind() against glibc's backtrace(): every shape of
 * frame at several optimisation levels, signals at every instruction, alternate
 * and user-made stacks, reloaded modules, code without tables; and walks over
 * stacks full of nonsense, which only must not crash.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "os/unwind.h"
#include "os/unwind_impl.h"
#include "unwind_beside.h"
#include "unwind_shapes.h"

static uintptr_t outermost; /* the last frame of the main thread: in _start */

static void
just_walk(void)
{
    uintptr_t frames[FRAMES_MAX];

    captures += os_unwind(frames, FRAMES_MAX, 0) > 0;
}

static void
shapes(void **state)
{
    (void)state;
    reset();
    for (int i = 0; i < 3; i++) /* cold, then from the table */
        every_shape(compare);
    assert_true(captures > 3 * SHAPES_COUNT * 10);
    assert_int_equal(mismatches, 0);
    assert_int_equal(longer, 0);
}

/* --- Counts --- */

static void
counts_at_depth(void)
{
    uintptr_t all[FRAMES_MAX];
    uintptr_t some[FRAMES_MAX];

    uint32_t n = os_unwind(all, FRAMES_MAX, 0);
    assert_true(n > 80 && n < FRAMES_MAX);
    assert_int_equal(os_unwind(some, 0, 0), 0);
    for (uint32_t skip = 0; skip <= n + 30; skip += 7) {
        uint32_t left = skip < n ? n - skip : 0;
        for (uint32_t max = 1; max < FRAMES_MAX; max += 21) {
            memset(some, 0xee, sizeof(some));
            uint32_t got = os_unwind(some, max, skip);
            assert_int_equal(got, left < max ? left : max);
            assert_memory_equal(some, all + skip, got * sizeof(*some));
            assert_int_equal(some[got], 0xeeeeeeeeeeeeeeee);
        }
    }
}

static void
counts(void **state)
{
    (void)state;
    shapes_o2.recurse(80, counts_at_depth);
}

/* --- Signals --- */

static void
on_signal(int sig)
{
    (void)sig;
    compare();
}

static void
on_signal_walk(int sig)
{
    uintptr_t frames[FRAMES_MAX];

    (void)sig;
    captures += os_unwind(frames, FRAMES_MAX, 0) > 3;
}

/* Of a handler's callers exactly one is the way back from the signal. */
static uint32_t
ways_back(void)
{
    uintptr_t frames[FRAMES_MAX];
    uint32_t depth = os_unwind(frames, FRAMES_MAX, 0), found = 0;

    for (uint32_t i = 0; i < depth; i++)
        found += os_unwind_is_signal(frames[i]);
    return found;
}

static void
on_signal_count(int sig)
{
    (void)sig;
    captures += ways_back();
}

static void
install(int sig, int flags, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    assert_int_equal(sigaction(sig, &action, NULL), 0);
}

static void
raise_usr1(void)
{
    raise(SIGUSR1);
}

static void
signals(int flags)
{
    reset();
    install(SIGUSR1, flags, on_signal);
    for (size_t i = 0; i < SHAPES_COUNT; i++)
        all_shapes[i]->call_all(raise_usr1);
    assert_true(captures > SHAPES_COUNT * 10);
    assert_int_equal(mismatches, 0);
}

static void
stepping(int flags)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)flags; /* it would step through the sanitizer's own runtime */
    return;
#endif
    reset();
    install(SIGTRAP, flags, on_signal);
    for (size_t i = 0; i < SHAPES_COUNT; i++) {
        trap_on();
        all_shapes[i]->run_leaves();
        trap_off();
    }
    assert_true(captures > SHAPES_COUNT * 500);
    assert_int_equal(mismatches, 0);
    reset();
    install(SIGTRAP, flags, on_signal_walk);
    for (size_t i = 0; i < SHAPES_COUNT; i++) {
        trap_on();
        all_shapes[i]->run_realigned();
        trap_off();
    }
    assert_true(captures > SHAPES_COUNT * 20);
}

static void
ticking(int flags)
{
    static const struct itimerval tick = {{0, 500}, {0, 500}};
    static const struct itimerval stop;

    reset();
    install(SIGALRM, flags | SA_RESTART, on_signal);
    assert_int_equal(setitimer(ITIMER_REAL, &tick, NULL), 0);
    for (int i = 0; i < 100000 && captures < 300; i++)
        all_shapes[(size_t)i % SHAPES_COUNT]->run_leaves();
    assert_int_equal(setitimer(ITIMER_REAL, &stop, NULL), 0);
    assert_true(captures > 10);
    assert_int_equal(mismatches, 0);
}

static void
signals_here(void **state)
{
    (void)state;
    reset();
    install(SIGUSR1, 0, on_signal_count);
    assert_int_equal(ways_back(), 0);
    raise_usr1();
    assert_int_equal(captures, 1);
    signals(0);
    stepping(0);
    ticking(0);
}

static void
signals_alternate(void **state)
{
    static char stack[128 << 10];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
    stack_t none = {.ss_flags = SS_DISABLE};

    (void)state;
    assert_int_equal(sigaltstack(&alternate, NULL), 0);
    signals(SA_ONSTACK);
    stepping(SA_ONSTACK);
    ticking(SA_ONSTACK);
    assert_int_equal(sigaltstack(&none, NULL), 0);
}

/* --- Threads --- */

static void *
thread_main(void *arg)
{
    (void)arg;
    errno = ERANGE;
    compare();
    every_shape(compare);
    return errno == ERANGE ? NULL : "errno was changed";
}

static void
threads_run(pthread_attr_t *attr, void *stacks, size_t size)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    void *failed;

    for (size_t i = 0; i < THREADS; i++) {
        if (stacks != NULL)
            assert_int_equal(pthread_attr_setstack(attr, (char *)stacks + i * size, size), 0);
        assert_int_equal(pthread_create(&thread[i], attr, thread_main, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
}

static void
threads(void **state)
{
    const size_t size = 2 << 20;
    pthread_attr_t attr;
    void *stacks = mmap(NULL, 4 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    reset();
    assert_ptr_not_equal(stacks, MAP_FAILED);
    assert_int_equal(pthread_attr_init(&attr), 0);
    threads_run(&attr, NULL, 0);
    threads_run(&attr, stacks, size);
    assert_int_equal(mismatches, 0);
    pthread_attr_destroy(&attr);
    munmap(stacks, 4 * size);
}

/* --- Stacks of the program's own --- */

/* size bytes between two inaccessible pages. */
static char *
guarded(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *base =
        mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    assert_ptr_not_equal(base, MAP_FAILED);
    assert_int_equal(mprotect(base + page, size, PROT_READ | PROT_WRITE), 0);
    return base + page;
}

static void
guarded_free(char *stack, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    munmap(stack - page, size + 2 * page);
}

static void
fiber_main(void)
{
    every_shape(compare);
}

static void
fiber_run(char *stack, size_t size)
{
    ucontext_t here;
    ucontext_t fiber;

    assert_int_equal(getcontext(&fiber), 0);
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = size;
    fiber.uc_link = &here;
    makecontext(&fiber, fiber_main, 0);
    compare();
    assert_int_equal(swapcontext(&here, &fiber), 0);
    compare();
}

static void
fibers(void **state)
{
    const size_t size = 2 << 20;

    (void)state;
    reset();
    for (int i = 0; i < 3; i++) {
        char *stack = guarded(size);
        fiber_run(stack, size);
        guarded_free(stack, size);
        stack = malloc(size);
        fiber_run(stack, size);
        free(stack);
    }
    assert_int_equal(mismatches, 0);
}

static void
switched_stack(void **state)
{
    const size_t size = 2 << 20;
    char *stack = guarded(size);

    (void)state;
    reset();
    call_on_stack(compare, stack + size);
    assert_int_equal(captures, 1);
    call_on_stack(fiber_main, stack + size);
    /* libgcc follows a CFA to any address; so do we where it is readable. */
    assert_int_equal(mismatches, 0);
    guarded_free(stack, size);
}

/* --- Modules that come and go --- */

static bool tells; /* the unwinder of what was unloaded, as our dlclose() does */

/* Loads a module, calls its function a number of times, then to compare; unloads it. */
static uintptr_t
module_run(const char *path, const char *name, int times)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(module);
    void (*call)(void (*)(void)) = (void (*)(void (*)(void)))(uintptr_t)dlsym(module, name);
    uintptr_t at = (uintptr_t)call;
    assert_int_not_equal(at, 0);
    for (int i = 0; i < times; i++)
        call(just_walk);
    call(compare);
    call(compare);
    dlclose(module);
    if (tells)
        os_unwind_unloaded();
    return at;
}

static void
modules_alternate(const char *name, int times)
{
    unsigned same = 0;
    uintptr_t last = 0;

    if (module_path[1] == NULL)
        skip();
    reset();
    for (int i = 0; i < 20; i++) {
        uintptr_t at = module_run(module_path[i % 2], name, times);
        same += at == last;
        last = at;
    }
    assert_int_equal(mismatches, 0);
#ifndef __SANITIZE_ADDRESS__ /* it gives frames code of different size */
    assert_true(same > 0);   /* else nothing was put to the test */
#endif
}

static void
modules(void **state)
{
    (void)state;
    modules_alternate("module_call", 0);
}

/* No return address is new: the sample notices. */
static void
modules_quiet(void **state)
{
    (void)state;
    modules_alternate("module_quiet", 3000);
}

/* Nothing has to be noticed: from the first walk on. */
static void
modules_told(void **state)
{
    (void)state;
    tells = true;
    os_unwind_unloaded(); /* the last one of the test before */
    modules_alternate("module_quiet", 0);
    os_unwind_unloaded(); /* nothing was */
    modules_alternate("module_call", 0);
    tells = false;
}

static _Atomic bool stop;

static void *
capture_until_stop(void *arg)
{
    (void)arg;
    while (!stop)
        every_shape(compare);
    return NULL;
}

/* Others walk while rules are forgotten. */
static void
modules_and_threads(void **state)
{
    enum { THREADS = 3 };
    pthread_t thread[THREADS];

    (void)state;
    if (module_path[1] == NULL)
        skip(); /* before there are threads, which nobody would stop */
    stop = false;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, capture_until_stop, NULL), 0);
    for (int i = 0; i < 3; i++)
        modules_alternate("module_call", 20);
    stop = true;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(mismatches, 0);
}

/* --- Code without tables --- */

static void
expect_outermost(void)
{
    uintptr_t frames[FRAMES_MAX];
    uint32_t n = os_unwind(frames, FRAMES_MAX, 0);

    captures++;
    if (n == 0 || frames[n - 1] != outermost)
        mismatches++;
}

static void
no_tables(void **state)
{
    static const uint8_t with_bp[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
    static const uint8_t without_bp[] = {0x48, 0x83, 0xec, 0x08, 0xff, 0xd7,
                                         0x48, 0x83, 0xc4, 0x08, 0xc3};
    uint8_t *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_not_equal(code, MAP_FAILED);
    reset();
    void (*call)(void (*)(void)) = (void (*)(void (*)(void)))(uintptr_t)code;
    memcpy(code, with_bp, sizeof(with_bp));
    for (int i = 0; i < 3; i++)
        call(expect_outermost);
    call(compare);
    assert_int_equal(mismatches, 0);
    assert_int_equal(longer, 1);
    memcpy(code, without_bp, sizeof(without_bp));
    call(compare);
    assert_int_equal(mismatches, 0);
    munmap(code, 4096);
}

/* --- Nonsense --- */

static uintptr_t some_code[FRAMES_MAX];
static uint32_t some_code_count;

static void
collect_code(void)
{
    some_code_count = os_unwind(some_code, FRAMES_MAX, 0);
}

static uintptr_t
nonsense(const char *stack, size_t size)
{
    uint64_t r = random_next();

    switch (r % 8) {
    case 0:
    case 1:
    case 2:
        return some_code[random_next() % some_code_count];
    case 3:
    case 4:
    case 5:
        return (uintptr_t)stack + (random_next() % (size / 8)) * 8;
    case 6: /* beyond either end, or unaligned */
        return (uintptr_t)stack + random_next() % (3 * size) - size;
    default:
        return random_next() >> (random_next() % 64);
    }
}

static void
walks_nonsense(void **state)
{
    const size_t size = 72 << 10;
    const size_t used = 64 << 10; /* of it, by the walk's own frames */
    char *stack = guarded(size);

    (void)state;
    reset();
    shapes_o2.call_all(collect_code);
    for (int round = 0; round < 3000; round++) {
        uintptr_t *words = (uintptr_t *)(void *)(stack + used);
        size_t count = (size - used) / sizeof(*words);
        for (size_t i = 0; i < count; i++)
            words[i] = nonsense(stack + used, size - used);
        char *top = stack + used + (random_next() % 8) * 16;
        raw_on_stack(just_walk, top, (void *)((uintptr_t)top + random_next() % 64 * 8));
    }
    assert_int_equal(captures, 3000);
    guarded_free(stack, size);
}

/* A stack is unmapped and a smaller one is made at its place: old bounds must not count. */
static void
stale_bounds(void **state)
{
    const size_t size = 256 << 10;
    const size_t less = 64 << 10;
    char *stack = guarded(size);

    (void)state;
    reset();
    call_on_stack(compare, stack + size);
    memset(stack, 0, size);
    uintptr_t *top = (uintptr_t *)(void *)(stack + size) - 8;
    top[0] = (uintptr_t)top + 32;
    top[1] = some_code[0];
    raw_on_stack(just_walk, stack + less, top); /* walks up to the old top */
    assert_int_equal(mprotect(stack + less, size - less, PROT_NONE), 0);
    raw_on_stack(just_walk, stack + less - 64, top);
    raw_on_stack(just_walk, stack + less - 64, stack + less - 8);
    assert_int_equal(mismatches, 0);
    guarded_free(stack, size);
}

/* Its use of __builtin_frame_address() makes rbp its frame pointer. */
static __attribute__((noinline)) void
corrupt(uintptr_t saved_bp, uintptr_t return_address)
{
    volatile uintptr_t *frame = __builtin_frame_address(0);
    uintptr_t old_bp = frame[0];
    uintptr_t old_address = frame[1];

    frame[0] = saved_bp;
    frame[1] = return_address;
    just_walk();
    frame[0] = old_bp;
    frame[1] = old_address;
}

static void
corrupt_frames(void **state)
{
    char local[64];
    static const uintptr_t bad[] = {0, 1, 8, 0x4141414141414141, UINTPTR_MAX, (uintptr_t)1 << 47};

    (void)state;
    reset();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        corrupt(bad[i], bad[i]);
        corrupt((uintptr_t)local, bad[i]);
        for (uint32_t j = 0; j < some_code_count; j++)
            corrupt(bad[i], some_code[j]);
    }
    for (int i = 0; i < 2000; i++)
        corrupt(nonsense(local, sizeof(local)), nonsense(local, sizeof(local)));
    assert_true(captures > 0);
}

static void
probes(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = guarded(page);

    (void)state;
    errno = EDOM;
    assert_true(unwind_probe((uintptr_t)memory));
    assert_true(unwind_probe((uintptr_t)memory + page - 8));
    assert_false(unwind_probe((uintptr_t)memory - 8));
    assert_false(unwind_probe((uintptr_t)memory + page));
    assert_false(unwind_probe(0));
    assert_false(unwind_probe(8));
    assert_false(unwind_probe(UINTPTR_MAX - 7));
    assert_false(unwind_probe((uintptr_t)1 << 62));
    assert_int_equal(errno, EDOM);
    guarded_free(memory, page);
    assert_false(unwind_probe((uintptr_t)memory));
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probes),
        cmocka_unit_test(shapes),
        cmocka_unit_test(counts),
        cmocka_unit_test(signals_here),
        cmocka_unit_test(signals_alternate),
        cmocka_unit_test(threads),
        cmocka_unit_test(fibers),
        cmocka_unit_test(switched_stack),
        cmocka_unit_test(modules),
        cmocka_unit_test(modules_quiet),
        cmocka_unit_test(modules_told),
        cmocka_unit_test(modules_and_threads),
        cmocka_unit_test(no_tables),
        cmocka_unit_test(walks_nonsense),
        cmocka_unit_test(stale_bounds),
        cmocka_unit_test(corrupt_frames),
    };
    uintptr_t frames[FRAMES_MAX];
    void *plain[4];

    backtrace(plain, 4); /* loads libgcc: not to happen within a signal handler */
    uint32_t n = os_unwind(frames, FRAMES_MAX, 0);
    outermost = n > 0 ? frames[n - 1] : 0;
    take_modules(argc, argv);
    return cmocka_run_group_tests_name("os/unwind", tests, NULL, NULL);
}
