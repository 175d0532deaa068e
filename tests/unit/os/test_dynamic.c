/* SPDX-License-Identifier: MIT */
/* test_dynamic.c - a module's dynamic symbols; libc's made to follow the program's. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/dynamic.h"
#include "os/maps.h"

/* libc has one, too; that of the program stands before it. */
char *
l64a(long n)
{
    static char own[] = "own";

    return n != 0 ? own : NULL;
}

/* Of a function that no sanitizer brings, too. */
static struct link_map *
libc_map(void)
{
    struct link_map *map = NULL;
    Dl_info info;

    assert_true(dladdr1((void *)(uintptr_t)ecvt, &info, (void **)&map, RTLD_DL_LINKMAP) != 0);
    return map;
}

/* The address that libc's table has for a name; symbol: where. */
static uintptr_t
in_libc(const char *name, const os_elf_symbol **symbol)
{
    struct link_map *map = libc_map();
    struct os_dynamic table;

    assert_true(os_dynamic_tables(map->l_ld, map->l_addr, &table));
    assert_true(table.dyn_count > 1000);
    for (size_t i = 0; i < table.dyn_count; i++) {
        *symbol = &table.dyn_symbols[i];
        if (strcmp(table.dyn_strings + (*symbol)->st_name, name) == 0)
            return map->l_addr + (*symbol)->st_value;
    }
    return 0;
}

static void
test_tables(void **state)
{
    static const os_elf_dynamic none[] = {{.d_tag = DT_NULL}};
    struct os_dynamic table;
    const os_elf_symbol *symbol;

    (void)state;
    assert_true(in_libc("ecvt", &symbol) == (uintptr_t)ecvt);
    assert_true(in_libc("no such name", &symbol) == 0);
    assert_false(os_dynamic_tables(none, 0, &table));
}

static void
test_libc_follows(void **state)
{
    static const char *const names[] = {"l64a", "no such name", "ecvt"};
    void *libc = dlopen("libc.so.6", RTLD_NOLOAD | RTLD_LAZY);
    uintptr_t other = in_libc("a64l", &(const os_elf_symbol *){NULL});
    const os_elf_symbol *symbol;
    struct os_mapping mapping;

    (void)state;
    assert_true(dlsym(RTLD_DEFAULT, "l64a") == (void *)(uintptr_t)l64a);
    assert_true(dlsym(libc, "l64a") != (void *)(uintptr_t)l64a);
    assert_true(os_libc_follows(names, 3));
    assert_true(in_libc("l64a", &symbol) == (uintptr_t)l64a);
    assert_true(dlsym(libc, "l64a") == (void *)(uintptr_t)l64a);
    assert_true(in_libc("a64l", &(const os_elf_symbol *){NULL}) == other);
    assert_true(in_libc("ecvt", &(const os_elf_symbol *){NULL}) == (uintptr_t)ecvt);
    assert_true(os_mapping_find((uintptr_t)symbol, &mapping));
    assert_int_equal(mapping.map_perms[1], '-');
    dlclose(libc);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_libc_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
