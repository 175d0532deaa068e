/* SPDX-License-Identifier: MIT */
/* test_maps.c - the mapping of an address, among many and beside very long names. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/maps.h"
#include "os/os.h"

static void
assert_ends(const char *string, const char *end)
{
    size_t length = strlen(string), size = strlen(end);

    if (length < size || strcmp(string + length - size, end) != 0)
        fail_msg("\"%s\" does not end in \"%s\"", string, end);
}

static void
addresses(void **state)
{
    struct os_mapping mapping;
    char *page = os_map(2 * os_page_size(), os_page_size());
    int local = 0;

    (void)state;
    assert_true(os_mapping_find((uintptr_t)&local, &mapping));
    assert_string_equal(mapping.map_path, "[stack]");
    assert_string_equal(mapping.map_perms, "rw-p");
    assert_true(os_mapping_find((uintptr_t)addresses, &mapping));
    assert_ends(mapping.map_path, "/test_os_maps");
    assert_string_equal(mapping.map_perms, "r-xp");
    assert_memory_equal((void *)mapping.map_module, "\177ELF", 4);
    assert_int_equal(os_protect(page, os_page_size(), false), 0);
    assert_true(os_mapping_find((uintptr_t)page, &mapping));
    assert_string_equal(mapping.map_perms, "---p");
    assert_string_equal(mapping.map_path, "");
    assert_ptr_equal(mapping.map_end, page + os_page_size());
    assert_false(os_mapping_find(16, &mapping));
    os_unmap(page, 2 * os_page_size());
}

/* Thousands of lines, and one with a path longer than any buffer. */
static void
many_mappings(void **state)
{
    enum { PIECES = 2000 };
    size_t size = os_page_size();
    char *base = os_map(PIECES * size, size);
    char path[4000] = "/tmp";
    char *at = path + strlen(path);
    struct os_mapping mapping;

    (void)state;
    for (size_t i = 0; i < PIECES; i += 2)
        assert_int_equal(os_protect(base + i * size, size, false), 0);
    for (size_t i = 0; i < PIECES; i += 97) {
        assert_true(os_mapping_find((uintptr_t)base + i * size + 7, &mapping));
        assert_string_equal(mapping.map_perms, i % 2 == 0 ? "---p" : "rw-p");
    }
    os_unmap(base, PIECES * size);

    for (int i = 0; i < 8; i++) {
        at += sprintf(at, "/umem-test-%d-", (int)getpid());
        memset(at, 'd', 200);
        at += 200;
        *at = '\0';
        if (mkdir(path, 0700) != 0)
            skip();
    }
    strcpy(at, "/f");
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    char *mapped = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(os_mapping_find((uintptr_t)mapped + 1, &mapping));
    assert_int_equal(mapping.map_start, (uintptr_t)mapped);
    assert_int_equal(strlen(mapping.map_path), OS_MAPPING_PATH - 1);
    assert_true(os_mapping_find((uintptr_t)&mapping, &mapping));
    assert_string_equal(mapping.map_path, "[stack]");
    munmap(mapped, size);
    close(fd);
    unlink(path);
    for (int i = 0; i < 8; i++) {
        *strrchr(path, '/') = '\0';
        rmdir(path);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(many_mappings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
