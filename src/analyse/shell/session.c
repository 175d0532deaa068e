/* SPDX-License-Identifier: MIT */
/*
 * session.c - the state of a shell: target and heap, variables, registers,
 * and names of addresses both ways.
 */
#include "shell/shell.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/options.h"
#include "heap/memory.h"

/* Bytes of a pointer where no library says so. */

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

bool
shell_open(struct shell *sh, const char *name, const struct target_options *options, bool stop)
{
    struct target *t = target_open(name, options);

    if (t == NULL)
        return false;
    if (!stop)
        (void)target_fork(t); /* where that cannot be, it stays stopped */
    return shell_open_on(sh, name, t);
}

bool
shell_open_on(struct shell *sh, const char *name, struct target *t)
{
    *sh = (struct shell){.sh_name = name, .sh_target = t};
    sh->sh_has_heap =
        heap_open(&sh->sh_heap, sh->sh_target, sh->sh_no_heap, sizeof(sh->sh_no_heap)) == HEAP_OK;
    if (sh->sh_has_heap && sh->sh_heap.heap_allocator != HEAP_UMEM) {
        /* Most commands are of structures that only libumem has. */
        heap_close(&sh->sh_heap);
        sh->sh_has_heap = false;
        snprintf(sh->sh_no_heap, sizeof(sh->sh_no_heap),
                 "no libumem in it; of glibc's heap umem leaks, users, verify, sizes, stat and "
                 "whatis tell");
    }
    sh->sh_symbols = symboliser_create(sh->sh_target);
    if (sh->sh_symbols != NULL)
        return true;
    command_error("shell: no memory");
    shell_close(sh);
    return false;
}

void
shell_close(struct shell *sh)
{
    shell_leaks_free(sh);
    bufctl_table_destroy(sh->sh_bufctls);
    event_list_fini(&sh->sh_log);
    symboliser_destroy(sh->sh_symbols);
    heap_close(&sh->sh_heap);
    target_close(sh->sh_target);
    free(sh->sh_variables);
    *sh = (struct shell){0};
}

void
shell_complain(struct shell *sh, const char *fmt, ...)
{
    char text[SHELL_WHY_MAX + SHELL_NAME_MAX];
    va_list ap;

    sh->sh_error = true;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    command_error("%s", text);
}

bool
shell_needs_heap(struct shell *sh, const char *name)
{
    return sh->sh_has_heap || shell_error(sh, "%s: %s: %s", name, sh->sh_name, sh->sh_no_heap);
}

/* --- Variables and registers --- */

static struct shell_variable *
find_variable(const struct shell *sh, const char *name)
{
    for (size_t i = 0; i < sh->sh_variable_count; i++)
        if (strcmp(sh->sh_variables[i].var_name, name) == 0)
            return &sh->sh_variables[i];
    return NULL;
}

bool
shell_set(struct shell *sh, const char *name, uint64_t value)
{
    struct shell_variable *var = find_variable(sh, name);

    if (var == NULL) {
        if (strlen(name) >= sizeof(var->var_name))
            return shell_error(sh, "%s: a name of a variable has %zu characters at most", name,
                               sizeof(var->var_name) - 1);
        if (!memory_grow(&sh->sh_variables, &sh->sh_variable_room, sh->sh_variable_count,
                         sizeof(*sh->sh_variables)))
            return shell_error(sh, "no memory");
        var = &sh->sh_variables[sh->sh_variable_count++];
        snprintf(var->var_name, sizeof(var->var_name), "%s", name);
    }
    var->var_value = value;
    return true;
}

/* A register of the thread that is chosen; "pc" and "sp" on every machine. */
static bool
get_register(const struct shell *sh, const char *name, uint64_t *value)
{
    const struct thread *threads;
    const char *known;
    size_t n = target_threads(sh->sh_target, &threads);

    if (sh->sh_thread >= n || !threads[sh->sh_thread].thr_stopped)
        return false;
    const struct thread *thr = &threads[sh->sh_thread];
    for (size_t i = 0; (known = target_register_name(sh->sh_target, i)) != NULL; i++) {
        if (strcmp(known, name) == 0 && i < thr->thr_nregs) {
            *value = thr->thr_regs[i];
            return true;
        }
    }
    bool pc = strcmp(name, "pc") == 0;
    if (pc || strcmp(name, "sp") == 0)
        *value = pc ? thr->thr_pc : thr->thr_sp;
    return pc || strcmp(name, "sp") == 0;
}

bool
shell_get(struct shell *sh, const char *name, uint64_t *value)
{
    const struct shell_variable *var = find_variable(sh, name);

    if (var == NULL)
        return get_register(sh, name, value);
    *value = var->var_value;
    return true;
}

bool
shell_read_word(struct shell *sh, addr_t addr, uint64_t *value)
{
    unsigned word = target_word(sh->sh_target);
    uint64_t read = 0;

    if (!target_read_exact(sh->sh_target, addr, &read, word))
        return false;
    *value = read;
    return true;
}

const struct thread *
shell_thread(struct shell *sh, addr_t tid)
{
    const struct thread *threads;
    size_t n = target_threads(sh->sh_target, &threads);

    for (size_t i = 0; i < n; i++)
        if ((addr_t)threads[i].thr_tid == tid)
            return &threads[i];
    shell_complain(sh, "no thread 0t%" PRIu64 "; ::thread lists them, 0t is for decimal numbers",
                   tid);
    return NULL;
}

struct heap_cache *
shell_cache(struct shell *sh, addr_t addr)
{
    for (size_t i = 0; i < sh->sh_heap.heap_cache_count; i++)
        if (sh->sh_heap.heap_caches[i].cache_addr == addr)
            return &sh->sh_heap.heap_caches[i];
    shell_complain(sh, "0x%" PRIx64 " is no cache; ::umem_cache lists them", addr);
    return NULL;
}

bool
shell_one_cache(struct shell *sh, const struct call *call, const struct heap_cache **cache)
{
    *cache = call_has_address(call) ? shell_cache(sh, call->call_addr) : NULL;
    return *cache != NULL || !call_has_address(call);
}

/* --- Names --- */

struct lookup {
    const char *module; /* file name, its length below */
    size_t module_length;
    uint64_t *value;
    bool found;
};

static bool
take_symbol(void *arg, const struct module *mod, addr_t addr)
{
    struct lookup *lookup = arg;
    const char *name = base_name(mod->mod_path);

    if (lookup->module_length > 0 && (strlen(name) != lookup->module_length ||
                                      memcmp(name, lookup->module, lookup->module_length) != 0))
        return true;
    *lookup->value = addr;
    lookup->found = true;
    return false;
}

bool
shell_symbol(struct shell *sh, const char *name, uint64_t *value)
{
    const char *tick = strchr(name, '`');
    struct lookup lookup = {
        .module = name, .module_length = tick != NULL ? (size_t)(tick - name) : 0, .value = value};

    target_find_symbol(sh->sh_target, tick != NULL ? tick + 1 : name, take_symbol, &lookup);
    return lookup.found;
}

const char *
shell_name(struct shell *sh, addr_t addr, bool is_return, char *out)
{
    const struct symbol *sym = symboliser_symbol(sh->sh_symbols, addr, is_return);
    const char *exe = base_name(target_executable(sh->sh_target));
    char offset[24] = "";

    if (sym == NULL || sym->sym_module[0] == '\0' ||
        (sym->sym_function[0] == '\0' && sym->sym_module[0] == '[')) { /* "[stack]" */
        snprintf(out, SHELL_NAME_MAX, "0x%" PRIx64, addr);
        return out;
    }
    if (sym->sym_offset != 0)
        snprintf(offset, sizeof(offset), "+0x%" PRIx64, sym->sym_offset);
    if (sym->sym_function[0] == '\0')
        snprintf(out, SHELL_NAME_MAX, "%s%s", sym->sym_module, offset);
    else if (strcmp(sym->sym_module, exe) == 0)
        snprintf(out, SHELL_NAME_MAX, "%s%s", sym->sym_function, offset);
    else
        snprintf(out, SHELL_NAME_MAX, "%s`%s%s", sym->sym_module, sym->sym_function, offset);
    return out;
}

void
shell_print_stack(struct shell *sh, uint32_t stack)
{
    addr_t frames[HEAP_STACK_MAX];
    char name[SHELL_NAME_MAX];
    size_t n = heap_stack(&sh->sh_heap, stack, frames, HEAP_STACK_MAX);

    for (size_t i = 0; i < n; i++)
        printf("%*s%s\n", SHELL_STACK_COLUMN, "", shell_name(sh, frames[i], true, name));
}
