/* SPDX-License-Identifier: MIT */
/*
 * fuzz_core.c - the reader of cores: an input is a core file, whole, whose
 * tables and memory are looked at.
 */
#include "fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap.h"
#include "target/target_impl.h"

#define WORDS 64              /* of each mapping that are read */
#define IMAGE_MAX_BYTES 65536 /* of an object that is put together: larger ones take as long */

static bool
take_symbol(void *arg, const struct module *mod, addr_t addr)
{
    addr_t *sum = arg;
    *sum += addr + mod->mod_start;
    return true;
}

static addr_t
look_at_mappings(struct target *t)
{
    const struct mapping *maps;
    uint64_t words[WORDS];
    addr_t sum = 0, start, stop;
    size_t n = target_mappings(t, &maps);
    for (size_t i = 0; i < n; i++) {
        sum += strlen(maps[i].map_name);
        sum += target_read(t, maps[i].map_start, words, sizeof(words));
        sum += target_read_pages(t, maps[i].map_end - sizeof(words) / 2, words, sizeof(words));
        sum += target_mapping_of(t, maps[i].map_end) != NULL;
        sum += target_data(t, maps[i].map_start, maps[i].map_end, &start, &stop);
        sum += target_after_hole(t, maps[i].map_start);
        sum += target_peek(t, maps[i].map_start, sizeof(words)) != NULL;
    }
    return sum;
}

static addr_t
look_at_modules(struct target *t)
{
    const struct module *modules;
    addr_t sum = 0;
    size_t size;
    size_t n = target_modules(t, &modules);
    for (size_t i = 0; i < n; i++) {
        sum += strlen(modules[i].mod_path) + modules[i].mod_build_id[0];
        if (modules[i].mod_end - modules[i].mod_start > IMAGE_MAX_BYTES)
            continue;
        unsigned char *image = module_image(t, &modules[i], &size);
        sum += image != NULL ? image[size - 1] : 0;
        free(image);
    }
    target_find_symbol(t, "main", take_symbol, &sum);
    target_find_symbol(t, "__vdso_getcpu", take_symbol, &sum); /* which is in the core */
    return sum;
}

static addr_t
look_at_threads(struct target *t)
{
    const struct thread *threads;
    addr_t sum = 0;
    size_t n = target_threads(t, &threads);
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < threads[i].thr_nregs; r++)
            sum += threads[i].thr_regs[r];
    for (size_t i = 0; target_incomplete_reason(t, i) != NULL; i++)
        sum += strlen(target_incomplete_reason(t, i));
    return sum + strlen(target_executable(t));
}

/* Mostly there is none that can be read: looks for what describes it. */
static void
look_for_heap(struct target *t)
{
    char why[HEAP_PROBLEM_SIZE];
    struct heap h;
    if (heap_open(&h, t, why, sizeof(why)) != HEAP_FAILED)
        heap_close(&h);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct target *t = fuzz_open(data, size);
    if (t == NULL)
        return 0;
    /* So that none of this is left out as having no effect. */
    volatile addr_t sink = look_at_mappings(t);
    sink += look_at_modules(t);
    sink += look_at_threads(t);
    (void)sink;
    look_for_heap(t);
    target_close(t);
    return 0;
}
