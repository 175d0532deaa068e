/* SPDX-License-Identifier: MIT */
/*
 * look.c - see fuzz.h.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "leaks/leaks.h"
#include "leaks/whatis.h"
#include "look/users.h"

#define WORDS 64  /* of each mapping that are read */
#define BLOCKS 16 /* that are asked about */

void
memory_file_set(struct memory_file *file, const uint8_t *data, size_t size)
{
    if (file->data == NULL) {
        file->fd = memfd_create("core", MFD_CLOEXEC);
        snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
    } else {
        munmap(file->data, file->size);
    }
    if (file->fd < 0 || ftruncate(file->fd, (off_t)size) != 0)
        abort();
    file->size = size;
    file->data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (file->data == MAP_FAILED)
        abort();
    memcpy(file->data, data, size);
}

static bool
take_symbol(void *arg, const struct module *mod, addr_t addr)
{
    addr_t *sum = arg;
    *sum += addr + mod->mod_start;
    return true;
}

static void
look_at_tables(struct target *t)
{
    const struct mapping *maps;
    const struct module *modules;
    const struct thread *threads;
    volatile addr_t sum = 0;
    uint64_t words[WORDS];
    size_t n = target_mappings(t, &maps);
    for (size_t i = 0; i < n; i++) {
        sum += strlen(maps[i].map_name);
        sum += target_read(t, maps[i].map_start, words, sizeof(words));
        sum += target_read_pages(t, maps[i].map_end - sizeof(words) / 2, words, sizeof(words));
        sum += target_mapping_of(t, maps[i].map_end) != NULL;
    }
    n = target_modules(t, &modules);
    for (size_t i = 0; i < n; i++)
        sum += strlen(modules[i].mod_path) + modules[i].mod_build_id[0];
    n = target_threads(t, &threads);
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < threads[i].thr_nregs; r++)
            sum += threads[i].thr_regs[r];
    addr_t found = 0;
    target_find_symbol(t, "main", take_symbol, &found);
    sum += found;
}

static void
look_at_heap(struct target *t)
{
    struct heap h;
    struct leaks leaks;
    struct leaks users;
    struct what what;
    char why[512];
    const struct leak_options find = {
        .opt_possible = true, .opt_mappings = true, .opt_addresses = 4};
    const struct users_options all = {0};

    if (heap_open(&h, t, why, sizeof(why)) == HEAP_FAILED)
        return;
    for (uint32_t r = 0; r < h.heap_region_count && r < BLOCKS; r++)
        whatis(&h, heap_block_addr(&h, (struct block){r, 0}) + 1, &what);
    (void)leaks_find(&h, &find, &leaks);
    (void)users_find(&h, &all, &users);
    addr_t frames[HEAP_STACK_MAX];
    for (size_t i = 0; i < users.lks_group_count && i < BLOCKS; i++)
        (void)heap_stack(&h, users.lks_groups[i].grp_stack, frames, HEAP_STACK_MAX);
    (void)heap_now(&h);
    leaks_fini(&leaks);
    leaks_fini(&users);
    heap_close(&h);
}

void
look_at_core(const char *path, int deep)
{
    const struct target_options options = {0};
    struct target *t = target_open(path, &options);
    if (t == NULL)
        return;
    look_at_tables(t);
    if (deep)
        look_at_heap(t);
    target_close(t);
}
