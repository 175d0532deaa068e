/* SPDX-License-Identifier: MIT */
/*
 * test_target.c - the tables behind target.h, and the helper process: what
 * cannot be seen from outside by target_probe.
 */
#include "target/target_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- Tables --- */

static struct target *
empty_target(void)
{
    struct target *t = calloc(1, sizeof(*t));
    t->t_name = strdup("test");
    t->t_exe = strdup("");
    t->t_mem_fd = -1;
    t->t_pagemap_fd = -1;
    return t;
}

static void
test_segments_are_cut_where_they_overlap(void **state)
{
    static const unsigned char a[32] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const unsigned char b[32] = "0123456789abcdef0123456789abcde";
    struct target *t = empty_target();
    char buf[32];
    target_add_segment(t, 0x1010, 0x1030, b); /* its first half is the other's */
    target_add_segment(t, 0x1000, 0x1020, a);
    target_add_segment(t, 0x1008, 0x1010, b); /* wholly covered */
    target_sort_segments(t);
    assert_int_equal(t->t_segment_count, 2);
    assert_int_equal(target_read(t, 0x1018, buf, 32), 24);
    assert_memory_equal(buf, "aaaaaaaa0123456789abcde", 24);
    target_close(t);
}

static void
test_reads_stop_at_holes(void **state)
{
    static const unsigned char bytes[16] = "0123456789abcdef";
    struct target *t = empty_target();
    char buf[16];
    target_add_segment(t, 0x1000, 0x1008, bytes);
    target_add_segment(t, 0x100c, 0x1010, bytes + 12);
    target_sort_segments(t);
    assert_int_equal(target_read(t, 0x1000, buf, 16), 8);
    assert_int_equal(target_read(t, 0x0fff, buf, 16), 0);
    assert_int_equal(target_read(t, 0x1008, buf, 1), 0);
    assert_int_equal(target_read(t, 0x1010, buf, 1), 0);
    assert_false(target_read_exact(t, 0x1004, buf, 8));
    assert_true(target_read_exact(t, 0x1004, buf, 4));
    memset(buf, 'x', sizeof(buf));
    assert_int_equal(target_read_pages(t, 0x1000, buf, 16), 12);
    assert_memory_equal(buf, "01234567\0\0\0\0cdef", 16);
    target_close(t);
}

static void
test_peek_needs_neighbours_in_the_file(void **state)
{
    static const unsigned char bytes[64];
    struct target *t = empty_target();
    target_add_segment(t, 0x1000, 0x1010, bytes);
    target_add_segment(t, 0x1010, 0x1020, bytes + 16); /* contiguous in both */
    target_add_segment(t, 0x1020, 0x1030, bytes + 40); /* not in the file */
    target_sort_segments(t);
    assert_ptr_equal(target_peek(t, 0x1000, 32), bytes);
    assert_ptr_equal(target_peek(t, 0x1008, 24), bytes + 8);
    assert_null(target_peek(t, 0x1008, 25));
    assert_ptr_equal(target_peek(t, 0x1028, 8), bytes + 48);
    assert_null(target_peek(t, 0x1028, 9));
    assert_null(target_peek(t, 0x0fff, 1));
    assert_null(target_peek(t, 0x1030, 1));
    target_close(t);
}

static void
test_mappings_are_cut_where_they_overlap(void **state)
{
    struct target *t = empty_target();
    target_add_mapping(t, 0x3000, 0x5000, MAPPING_READ, "b", 0);
    target_add_mapping(t, 0x1000, 0x4000, MAPPING_READ, "a", 0);
    target_add_mapping(t, 0x2000, 0x3000, MAPPING_READ, "inside", 0);
    target_sort_mappings(t);
    assert_int_equal(t->t_mapping_count, 2);
    assert_string_equal(target_mapping_of(t, 0x3fff)->map_name, "a");
    assert_string_equal(target_mapping_of(t, 0x4000)->map_name, "b");
    assert_int_equal(target_mapping_of(t, 0x4000)->map_offset, 0x1000);
    assert_null(target_mapping_of(t, 0x5000));
    assert_null(target_mapping_of(t, 0xfff));
    target_close(t);
}

static void
test_reasons(void **state)
{
    struct target *t = empty_target();
    assert_true(target_is_complete(t));
    assert_null(target_incomplete_reason(t, 0));
    for (int i = 0; i < 5; i++)
        target_add_reason(t, "reason %d", i);
    assert_false(target_is_complete(t));
    assert_string_equal(target_incomplete_reason(t, 4), "reason 4");
    assert_null(target_incomplete_reason(t, 5));
    target_close(t);
}

static void
test_registers_by_machine(void **state)
{
    struct target *t = empty_target();
    uint64_t regs[27];
    t->t_machine = machine_find(EM_X86_64);
    assert_null(machine_find(EM_SPARC));
    for (unsigned i = 0; i < 27; i++)
        regs[i] = i;
    struct thread *thr = target_add_thread(t, 7);
    thread_add_registers(t, thr, regs, sizeof(regs));
    assert_int_equal(thr->thr_pc, 16);
    assert_int_equal(thr->thr_sp, 19);
    assert_int_equal(thr->thr_fs_base, 21);
    thread_add_registers(t, thr, "123456789", 9); /* an odd set, filled up with zeros */
    assert_int_equal(thr->thr_nregs, 29);
    assert_int_equal(thr->thr_regs[28], '9');
    target_close(t);
}

/* --- A live process: a child of ours --- */

#define PAGES 4
static char *shared_page; /* same address in the child */
uint64_t target_test_word = 0x0123456789abcdef;

__attribute__((noinline)) static void
child_waits(void)
{
    for (;;)
        pause();
}

static pid_t
start_child(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child_waits();
    }
    return pid;
}

static struct target *
open_pid(pid_t pid)
{
    char name[16];
    snprintf(name, sizeof(name), "%d", (int)pid);
    return target_open(name, NULL);
}

static void
end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void
test_copy_outlives_changes(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char buf[8];
    shared_page =
        mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(shared_page, 'a', 2 * page);
    pid_t pid = start_child();
    struct target *t = open_pid(pid);
    assert_non_null(t);
    addr_t addr = (uintptr_t)shared_page;
    assert_null(target_peek(t, addr, 8));
    size_t copied = target_copy(t, addr, addr + PAGES * page);
    assert_true(copied >= 2 * page);
    target_resume(t);
    target_resume(t); /* twice is once */
    memset(shared_page, 'b', page);
    assert_true(target_read_exact(t, addr, buf, 8));
    assert_memory_equal(buf, "aaaaaaaa", 8);
    assert_memory_equal(target_peek(t, addr, 8), "aaaaaaaa", 8);
    assert_true(target_read_exact(t, addr + 3 * page, buf, 8));
    assert_memory_equal(buf, "\0\0\0\0\0\0\0\0", 8);
    target_close(t);
    end_child(pid);
    munmap(shared_page, PAGES * page);
}

static pid_t
helper_pid(void)
{
    int pid = 0;
    char path[64];
    /* The newest child: the helper was forked after the process that is looked at. */
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int next; fscanf(f, "%d", &next) == 1;)
        pid = next;
    fclose(f);
    return pid;
}

static void
test_helper_may_die(void **state)
{
    struct symbol sym;
    pid_t pid = start_child();
    struct target *t = open_pid(pid);
    assert_non_null(t);
    addr_t addr = (uintptr_t)child_waits;
    assert_int_equal(target_symbolise(t, addr, false, &sym, 1), 1);
    assert_string_equal(sym.sym_function, "child_waits");
    assert_true(sym.sym_line > 0);
    for (int deaths = 1; deaths <= 3; deaths++) {
        pid_t helper = helper_pid();
        assert_int_not_equal(helper, pid);
        kill(helper, SIGSEGV);
        /* The question it died of gets module and offset. */
        assert_int_equal(target_symbolise(t, addr, false, &sym, 1), 1);
        assert_string_equal(sym.sym_function, "");
        assert_string_equal(sym.sym_module, "test_analyse_target");
        assert_true(sym.sym_offset > 0);
        /* The next one gets a new helper, until it died too often. */
        target_symbolise(t, addr, false, &sym, 1);
        assert_string_equal(sym.sym_function, deaths < 3 ? "child_waits" : "");
    }
    const struct thread *threads;
    addr_t frames[4];
    assert_int_equal(target_threads(t, &threads), 1);
    assert_int_equal(target_unwind(t, &threads[0], frames, 4), 1);
    assert_int_equal(frames[0], threads[0].thr_pc);
    target_close(t);
    end_child(pid);
}

static bool
remember(void *arg, const struct module *mod, addr_t addr)
{
    *(addr_t *)arg = addr;
    return false;
}

static void
test_executables_symbols_need_no_export(void **state)
{
    addr_t addr = 0;
    pid_t pid = start_child();
    struct target *t = open_pid(pid);
    assert_non_null(t);
    target_find_symbol(t, "target_test_word", remember, &addr);
    assert_int_equal(addr, (uintptr_t)&target_test_word);
    target_close(t);
    end_child(pid);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_are_cut_where_they_overlap),
        cmocka_unit_test(test_reads_stop_at_holes),
        cmocka_unit_test(test_peek_needs_neighbours_in_the_file),
        cmocka_unit_test(test_mappings_are_cut_where_they_overlap),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_registers_by_machine),
        cmocka_unit_test(test_copy_outlives_changes),
        cmocka_unit_test(test_helper_may_die),
        cmocka_unit_test(test_executables_symbols_need_no_export),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
