/* SPDX-License-Identifier: MIT */
/*
 * target_probe.c - opens a target and prints what target.h says of it, one
 * fact a line, for tests/analyse/test_target*.py.
 *
 *     target_probe [--exe FILE] [--copy] TARGET QUESTION...
 *
 * --copy: a live target's writable memory is copied and it runs on before the
 * questions are answered.
 */
#include "target/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAMES_MAX 200
#define SYMBOLS_MAX 16

static void
print_mappings(const struct target *t)
{
    const struct mapping *maps;
    size_t n = target_mappings(t, &maps);
    for (size_t i = 0; i < n; i++) {
        unsigned f = maps[i].map_flags;
        printf("mapping %" PRIx64 " %" PRIx64 " %c%c%c%c%c%c %" PRIx64 " %s\n", maps[i].map_start,
               maps[i].map_end, f & MAPPING_READ ? 'r' : '-', f & MAPPING_WRITE ? 'w' : '-',
               f & MAPPING_EXEC ? 'x' : '-', f & MAPPING_PRIVATE ? 'p' : 's',
               f & MAPPING_ANONYMOUS ? 'a' : 'f', f & MAPPING_PRESENT ? '+' : '-',
               maps[i].map_offset, maps[i].map_name);
    }
}

static void
print_modules(const struct target *t)
{
    const struct module *mods;
    size_t n = target_modules(t, &mods);
    for (size_t i = 0; i < n; i++)
        printf("module %" PRIx64 " %" PRIx64 " %" PRIx64 " %zu %s\n", mods[i].mod_start,
               mods[i].mod_end, mods[i].mod_bias, mods[i].mod_build_id_size, mods[i].mod_path);
}

static void
print_threads(const struct target *t)
{
    const struct thread *threads;
    size_t n = target_threads(t, &threads);
    for (size_t i = 0; i < n; i++)
        printf("thread %d %d %" PRIx64 " %" PRIx64 " %" PRIx64 " %zu\n", (int)threads[i].thr_tid,
               threads[i].thr_stopped, threads[i].thr_sp, threads[i].thr_pc, threads[i].thr_fs_base,
               threads[i].thr_nregs);
}

/* Which threads hold a value in which word of their registers. */
static void
print_register(const struct target *t, uint64_t value)
{
    const struct thread *threads;
    size_t n = target_threads(t, &threads);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < threads[i].thr_nregs; j++)
            if (threads[i].thr_regs[j] == value)
                printf("register %d %zu\n", (int)threads[i].thr_tid, j);
}

static void
print_symbols(struct target *t, addr_t addr, bool return_address)
{
    struct symbol s[SYMBOLS_MAX];
    size_t n = target_symbolise(t, addr, return_address, s, SYMBOLS_MAX);
    for (size_t i = 0; i < n; i++)
        printf("symbol %s|%s|%" PRIx64 "|%s|%d|%d\n", s[i].sym_function, s[i].sym_module,
               s[i].sym_offset, s[i].sym_file, s[i].sym_line, s[i].sym_inlined);
}

static void
print_stacks(struct target *t)
{
    const struct thread *threads;
    size_t n = target_threads(t, &threads);
    for (size_t i = 0; i < n; i++) {
        addr_t frames[FRAMES_MAX];
        size_t count = target_unwind(t, &threads[i], frames, FRAMES_MAX);
        printf("stack %d %zu\n", (int)threads[i].thr_tid, count);
        for (size_t j = 0; j < count; j++)
            print_symbols(t, frames[j], j > 0);
    }
}

static void
print_memory(struct target *t, const char *how, addr_t addr, size_t size)
{
    unsigned char *buf = malloc(size + 1);
    size_t got = 0;
    memset(buf, 0x5a, size);
    if (strcmp(how, "read") == 0)
        got = target_read(t, addr, buf, size);
    else if (strcmp(how, "pages") == 0)
        got = target_read_pages(t, addr, buf, size);
    else {
        const void *p = target_peek(t, addr, size);
        got = p != NULL ? size : 0;
        if (p != NULL)
            memcpy(buf, p, size);
    }
    unsigned long sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + buf[i];
    printf("%s %zu %lx ", how, got, sum);
    for (size_t i = 0; i < size && i < 32; i++)
        printf("%02x", buf[i]);
    putchar('\n');
    free(buf);
}

static bool
print_found(void *arg, const struct module *mod, addr_t addr)
{
    printf("found %" PRIx64 " %s\n", addr, mod->mod_path);
    return true;
}

/* Answers the question at argv[0]; returns how many words it had. */
static int
answer(struct target *t, char **argv)
{
    const char *q = argv[0];
    if (strcmp(q, "mappings") == 0)
        return print_mappings(t), 1;
    if (strcmp(q, "modules") == 0)
        return print_modules(t), 1;
    if (strcmp(q, "threads") == 0)
        return print_threads(t), 1;
    if (strcmp(q, "stacks") == 0)
        return print_stacks(t), 1;
    if (strcmp(q, "wait") == 0)
        for (fflush(stdout);;)
            pause();
    if (strcmp(q, "register") == 0)
        return print_register(t, strtoull(argv[1], NULL, 16)), 2;
    if (strcmp(q, "symbol") == 0)
        return target_find_symbol(t, argv[1], print_found, NULL), 2;
    if (strcmp(q, "address") == 0)
        return print_symbols(t, strtoull(argv[1], NULL, 16), false), 2;
    if (strcmp(q, "read") == 0 || strcmp(q, "pages") == 0 || strcmp(q, "peek") == 0)
        return print_memory(t, q, strtoull(argv[1], NULL, 16), strtoul(argv[2], NULL, 10)), 3;
    fprintf(stderr, "target_probe: no question %s\n", q);
    exit(3);
}

static void
copy_and_resume(struct target *t)
{
    const struct mapping *maps;
    size_t n = target_mappings(t, &maps);
    size_t copied = 0;
    for (size_t i = 0; i < n; i++)
        if ((maps[i].map_flags & (MAPPING_WRITE | MAPPING_PRESENT)) ==
            (MAPPING_WRITE | MAPPING_PRESENT))
            copied += target_copy(t, maps[i].map_start, maps[i].map_end);
    target_resume(t);
    printf("copied %zu\n", copied);
}

int
main(int argc, char **argv)
{
    struct target_options options = {0};
    bool copy = false;
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--copy") == 0)
            copy = true;
        else if (strcmp(argv[i], "--exe") == 0 && i + 1 < argc)
            options.opt_exe = argv[++i];
    }
    if (i >= argc)
        return 3;
    struct target *t = target_open(argv[i++], &options);
    if (t == NULL)
        return 2;
    printf("target %d %d %s\n", target_is_live(t), (int)target_pid(t), target_executable(t));
    printf("complete %d\n", target_is_complete(t));
    const char *reason;
    for (size_t r = 0; (reason = target_incomplete_reason(t, r)) != NULL; r++)
        printf("reason %s\n", reason);
    if (copy)
        copy_and_resume(t);
    while (i < argc)
        i += answer(t, argv + i);
    fflush(stdout);
    target_close(t);
    return 0;
}
