/* SPDX-License-Identifier: MIT */
/* test_audit.c - transactions: stack, depth, thread, time; the next pushes the last back. */
#include "support.h"

#include <pthread.h>

#include "debug/audit.h"
#include "debug/debug.h"
#include "debug/log.h"
#include "debug/stacks.h"
#include "os/os.h"
#include "os/unwind.h"

static uintptr_t here;

static __attribute__((noinline)) void
recurse(int depth, struct umem_bufctl *bc)
{
    if (depth == 0) {
        here = (uintptr_t)__builtin_return_address(0);
        umem_audit_logged(bc, NULL, NULL, NULL, UMEM_EVENT_ALLOC);
    } else {
        recurse(depth - 1, bc);
    }
    __asm__ volatile("");
}

static void
depth_is_limited(void **state)
{
    static const uint32_t limits[] = {0, 1, 5, 64, 255};
    struct umem_bufctl bc = {0};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(limits); i++) {
        umem_options.opt_audit_frames = limits[i];
        recurse(400, &bc);
        const struct umem_stack *stack = umem_stacks_get(bc.bc_last.txn_stack);
        if (limits[i] == 0)
            assert_null(stack);
        else
            assert_int_equal(stack->stack_depth, limits[i]);
    }
    umem_options.opt_audit_frames = UMEM_AUDIT_FRAMES_DEFAULT;
}

static void
frames_are_callers(void **state)
{
    struct umem_bufctl bc = {0};
    bool found = false;

    (void)state;
    recurse(2, &bc);
    const struct umem_stack *stack = umem_stacks_get(bc.bc_last.txn_stack);
    for (uint32_t i = 0; i < stack->stack_depth; i++)
        found |= stack->stack_frame[i] == here;
    assert_true(found);
    assert_int_equal(umem_transaction_thread(&bc.bc_last), os_thread_id());
    assert_true(os_clock_ns() - umem_transaction_ns(&bc.bc_last) < 10000000000u);
}

static void
last_becomes_previous(void **state)
{
    struct umem_bufctl bc = {0};

    (void)state;
    umem_audit_logged(&bc, NULL, NULL, NULL, UMEM_EVENT_ALLOC);
    struct umem_transaction first = bc.bc_last;
    assert_int_equal(bc.bc_prev.txn_when, 0);
    umem_audit_logged(&bc, NULL, NULL, NULL, UMEM_EVENT_ALLOC);
    assert_memory_equal(&bc.bc_prev, &first, sizeof(first));
    assert_true(bc.bc_last.txn_when >= first.txn_when);
}

static void *
audit_in_thread(void *arg)
{
    umem_audit_logged(arg, NULL, NULL, NULL, UMEM_EVENT_ALLOC);
    return (void *)(uintptr_t)os_thread_id();
}

static void
threads_have_their_id(void **state)
{
    struct umem_bufctl bc = {0};
    pthread_t thread;
    void *id;

    (void)state;
    pthread_create(&thread, NULL, audit_in_thread, &bc);
    pthread_join(thread, &id);
    assert_int_equal(umem_transaction_thread(&bc.bc_last), (uintptr_t)id);
    assert_int_not_equal(umem_transaction_thread(&bc.bc_last), umem_thread_self());
}

#if OS_UNWIND_KNOWS_SIGNALS
static void
handler(int number)
{
    struct umem_bufctl bc = {0};

    umem_debug_signal(number == SIGUSR2 ? UMF_REDZONE : UMF_AUDIT);
    umem_audit_logged(&bc, NULL, NULL, NULL, UMEM_EVENT_ALLOC);
}

static void
in_handler(void *arg)
{
    umem_options.opt_nosignal = arg != NULL;
    umem_debug_signal(UMF_AUDIT); /* not in one */
    signal(SIGUSR1, handler);
    signal(SIGUSR2, handler);
    raise(SIGUSR2);
    write(STDERR_FILENO, "not yet\n", 8);
    raise(SIGUSR1);
}

/* Only where it was asked for, under audit, and in a handler. */
static void
signal_handlers(void **state)
{
    (void)state;
    const struct outcome *outcome = run_child(in_handler, NULL);
    assert_int_equal(outcome->status, 0);
    assert_string_equal(outcome->text, "not yet\n");
    outcome = run_child(in_handler, &outcome);
    assert_aborted(outcome);
    assert_contains(outcome->text, "not yet\numem allocator: heap used by a signal handler\n");
}
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(frames_are_callers),
        cmocka_unit_test(last_becomes_previous),
        cmocka_unit_test(threads_have_their_id),
#if OS_UNWIND_KNOWS_SIGNALS
        cmocka_unit_test(signal_handlers),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
