/* SPDX-License-Identifier: MIT */
/*
 * test_span.c - spans as constructors find them: made ready where guards are
 * regions, whatever calls the system has for that, and closed everywhere else.
 */
#include "stacktest.h"

#include "page.h"
#include "stack.h"
#include "table.h"

#define CLASS 1
#define STACK (64 * KIB)
#define OBJECTS 100 /* of more than one span */

static void
configure(enum stack_backend backend)
{
    struct stack_config config = {.config_backend = backend, .config_lazy = 1};
    if (stack_config(STACK, &config, sizeof(config)) != 0)
        _exit(CHILD_SKIP);
    CHECK(stack_class_open(CLASS) != NULL);
}

/* Objects that no constructor has seen. */
static void
take_objects(char *objects[OBJECTS])
{
    for (int i = 0; i < OBJECTS; i++) {
        size_t whole = stack_class_form(CLASS).form_whole;
        CHECK((objects[i] = vmem_alloc(stack_arena(CLASS), whole, VM_SLEEP)) != NULL);
        CHECK(stack_span_holds(objects[i]) && stack_span_holds(objects[i] + whole - 1));
    }
}

static void
check_objects(char *objects[OBJECTS], bool ready)
{
    struct stack_form form = stack_class_form(CLASS);
    for (int i = 0; i < OBJECTS; i++) {
        char *body = objects[i] + form.form_low, *end = body + form.form_size;
        for (char *p = objects[i]; p < objects[i] + form.form_whole; p += PAGE)
            CHECK(is_readable(p) == (ready && p >= body && p < end));
        CHECK(table_find(body)->slot_left == (ready ? SLOT_REGIONS : SLOT_CLOSED));
        CHECK(locked_pages(objects[i], form.form_whole) == 0);
    }
}

static void
give_objects(char *objects[OBJECTS])
{
    for (int i = 0; i < OBJECTS; i++)
        vmem_free(stack_arena(CLASS), objects[i], stack_class_form(CLASS).form_whole);
    CHECK(vmem_size(stack_arena(CLASS), VMEM_ALLOC | VMEM_FREE) == 0);
    CHECK(!stack_span_holds(objects[0]));
}

/* The first constructor finds an object closed, the next one makes sure. */
static void
child_construct(void *arg)
{
    (void)arg;
    char *objects[OBJECTS];
    configure(STACK_BACKEND_MPROTECT);
    take_objects(objects);
    check_objects(objects, false);
    struct stack_class *class = &stack_classes[CLASS];
    struct stack_form form = stack_class_form(CLASS);
    char *body = objects[0] + form.form_low;
    for (int round = 0; round < 2; round++) {
        CHECK(stack_construct(objects[0], class, 0) == 0);
        CHECK((table_find(body)->slot_left & SLOT_CLOSED) == 0);
        CHECK(!is_readable(body - 1) && is_readable(body) && !is_readable(body + form.form_size));
        stack_destruct(objects[0], class);
        CHECK((table_find(body)->slot_left & SLOT_CLOSED) == 0 && !is_readable(body));
    }
    give_objects(objects);
}

static void
child_ready(void *arg)
{
    (void)arg;
    char *objects[OBJECTS];
    configure(STACK_BACKEND_REGIONS);
    for (int round = 0; round < 2; round++) {
        take_objects(objects);
        check_objects(objects, true);
        give_objects(objects);
    }
    if (mlockall(MCL_FUTURE) != 0)
        _exit(CHILD_SKIP);
    /* Slots that told of spans before tell of these. */
    take_objects(objects);
    check_objects(objects, false);
}

/* From here on one system call is one that this kernel does not know. */
static void
forbid_call(unsigned number)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(CHILD_SKIP);
}

static void
child_one_by_one(void *arg)
{
    (void)arg;
    char *objects[OBJECTS];
    forbid_call(SYS_process_madvise);
    configure(STACK_BACKEND_REGIONS);
    take_objects(objects);
    check_objects(objects, true);
}

static void
child_closed(void *arg)
{
    char *objects[OBJECTS];
    configure(*(enum stack_backend *)arg);
    take_objects(objects);
    check_objects(objects, false);
    give_objects(objects);
}

static void
test_regions_are_ready(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_ready, NULL);
}

static void
test_ranges_one_by_one(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_one_by_one, NULL);
}

static void
test_mappings_are_closed(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    enum stack_backend backends[] = {STACK_BACKEND_AUTO, STACK_BACKEND_MPROTECT};
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child_closed, &backends[i]);
}

static void
test_used_objects_are_closed_again(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_construct, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions_are_ready),
        cmocka_unit_test(test_ranges_one_by_one),
        cmocka_unit_test(test_mappings_are_closed),
        cmocka_unit_test(test_used_objects_are_closed_again),
    };
    return cmocka_run_group_tests_name("stackalloc/span", tests, NULL, NULL);
}
