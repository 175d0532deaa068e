/* SPDX-License-Identifier: MIT */
/*
 * test_symbolise.c - names of functions and data of the program, of libraries,
 * of the vdso, of a library whose file is gone; small buffers; our own text.
 */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "os/os.h"
#include "os/symbolise.h"

/* Without it there are no link maps to ask, hence no symbols but those in files. */
#if defined(__GLIBC__) && defined(DLFO_STRUCT_HAS_EH_DBASE)
#define HAVE_LINK_MAPS 1
#else
#define HAVE_LINK_MAPS 0
#endif

int a_table[100];
static char text[OS_SYMBOL_SIZE];

__attribute__((noinline)) static uintptr_t
return_address(void)
{
    return (uintptr_t)__builtin_return_address(0);
}

static void
assert_ends(const char *string, const char *end)
{
    size_t length = strlen(string), size = strlen(end);

    if (length < size || strcmp(string + length - size, end) != 0)
        fail_msg("\"%s\" does not end in \"%s\"", string, end);
}

static void
assert_begins(const char *string, const char *start)
{
    if (strncmp(string, start, strlen(start)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", string, start);
}

static void
program(void **state)
{
    (void)state;
    size_t length = os_symbolise(return_address(), text, sizeof(text));
    assert_int_equal(length, strlen(text));
    assert_begins(text, "test_os_symbolise`program+0x");
    /* A static function, by .symtab; its end is the last byte of a call. */
    (void)os_symbolise((uintptr_t)return_address + 1, text, sizeof(text));
    assert_string_equal(text, "test_os_symbolise`return_address+0x1");
}

static void
library(void **state)
{
    (void)state;
    /* One that no sanitizer puts itself in front of. */
    (void)os_symbolise((uintptr_t)dlsym(RTLD_DEFAULT, "strverscmp") + 1, text, sizeof(text));
    assert_begins(text, "libc.so.6`");
    assert_ends(text, "strverscmp+0x1");
    (void)os_symbolise((uintptr_t)dlsym(RTLD_DEFAULT, "_cmocka_run_group_tests") + 9, text,
                       sizeof(text));
    assert_begins(text, "libcmocka.so.0");
    assert_ends(text, "`_cmocka_run_group_tests+0x9");
}

static void
data(void **state)
{
    char *block = malloc(100);

    (void)state;
    assert_true(os_symbolise_data((uintptr_t)&a_table[3], text, sizeof(text)));
    assert_string_equal(text, "test_os_symbolise`a_table+0xc");
    assert_true(os_symbolise_data((uintptr_t)&a_table[0], text, sizeof(text)));
    assert_string_equal(text, "test_os_symbolise`a_table+0x0");
    assert_false(os_symbolise_data((uintptr_t)block, text, sizeof(text)));
    assert_begins(text, "0x");
    free(block);
}

static void
vdso(void **state)
{
    uintptr_t base = getauxval(AT_SYSINFO_EHDR);
    bool named = false;

    (void)state;
    if (base == 0 || !HAVE_LINK_MAPS)
        skip();
    /* Some address of its text has a name, from memory, there being no file. */
    for (uintptr_t offset = 0; offset < 0x3000; offset += 16)
        if (os_symbolise(base + offset, text, sizeof(text)) > 0 && strchr(text, '`') != NULL) {
            assert_begins(text, "linux-vdso.so.1`__");
            named = true;
        }
    assert_true(named);
}

static void
no_module(void **state)
{
    void *page = os_map(os_page_size(), os_page_size());
    char expected[32];

    (void)state;
    /* One byte in: a return address belongs to what lies before it, which may be a module's end. */
    void *inside = (char *)page + 1;
    snprintf(expected, sizeof(expected), "%p", inside);
    errno = EDOM;
    (void)os_symbolise((uintptr_t)inside, text, sizeof(text));
    assert_string_equal(text, expected);
    (void)os_symbolise(0, text, sizeof(text));
    assert_string_equal(text, "0x0");
    (void)os_symbolise(UINTPTR_MAX, text, sizeof(text));
    assert_int_equal(errno, EDOM);
    os_unmap(page, os_page_size());
}

/* Every size of buffer: terminated, not overrun. */
static void
small_buffers(void **state)
{
    char whole[OS_SYMBOL_SIZE];
    uintptr_t addr = return_address();

    (void)state;
    size_t length = os_symbolise(addr, whole, sizeof(whole));
    for (size_t size = 0; size <= length + 1; size++) {
        memset(text, '#', sizeof(text));
        size_t got = os_symbolise(addr, text, size);
        assert_int_equal(got, size == 0 ? 0 : size - 1);
        assert_memory_equal(text, whole, got);
        assert_int_equal(text[size], '#');
    }
}

/* No file can be opened: the dynamic symbols in memory do. */
static void
no_files(void **state)
{
    struct rlimit before, none;

    (void)state;
    if (!HAVE_LINK_MAPS)
        skip();
    uintptr_t addr = (uintptr_t)dlsym(RTLD_DEFAULT, "_cmocka_run_group_tests") + 9;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    (void)os_symbolise(addr, text, sizeof(text));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_begins(text, "libcmocka.so.0");
    assert_ends(text, "`_cmocka_run_group_tests+0x9");
}

/* Linked statically: it can't be told from the program. */
static void
own_text(void **state)
{
    uintptr_t start, end;

    (void)state;
    assert_false(os_own_text(&start, &end));
    assert_true((uintptr_t)os_own_text > start && (uintptr_t)os_own_text < end);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(program),  cmocka_unit_test(library),       cmocka_unit_test(data),
        cmocka_unit_test(vdso),     cmocka_unit_test(no_module),     cmocka_unit_test(no_files),
        cmocka_unit_test(own_text), cmocka_unit_test(small_buffers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
