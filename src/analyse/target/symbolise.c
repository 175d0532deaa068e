/* SPDX-License-Identifier: MIT */
/*
 * symbolise.c - address to function, file and line, by libdwfl; runs in the
 * helper child only.
 *
 * The session has the modules of our own table, so that core and live targets
 * go one way and a module is looked for where modules.c found it: its file, or
 * an image put together from memory.  Separate debug files are found by
 * libdwfl's own rules (build id, debug link, debuginfod).
 */
#include "target/target_impl.h"
#include "target/scopes.h"

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Functions inlined into one another at one address; more are left out. */
#define INLINED_MAX 64

/* The target of the session: there is one in a child. */
static struct target *session_target;

/* --- The session --- */

static int
find_elf(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, char **file_name,
         Elf **elfp)
{
    size_t i = (size_t)(uintptr_t)*userdata;
    struct target *t = session_target;
    const struct backing *back = module_backing(t, i);
    if (back->back_path != NULL) {
        int fd = open(back->back_path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            *file_name = strdup(back->back_path);
            return fd;
        }
    }
    /* By build id: a copy in the debug folders, or from debuginfod. */
    int fd = dwfl_build_id_find_elf(mod, userdata, name, base, file_name, elfp);
    if (fd >= 0 || *elfp != NULL)
        return fd;
    size_t size;
    void *image = module_image(t, &t->t_modules[i], &size);
    if (image != NULL)
        *elfp = elf_memory(image, size);
    return -1;
}

static const Dwfl_Callbacks callbacks = {
    .find_elf = find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
};

struct Dwfl *
symbolise_session(struct target *t)
{
    Dwfl *dwfl = dwfl_begin(&callbacks);
    session_target = t;
    if (dwfl == NULL)
        return NULL;
    dwfl_report_begin(dwfl);
    for (size_t i = 0; i < t->t_module_count; i++) {
        const struct module *m = &t->t_modules[i];
        void **userdata;
        Dwfl_Module *mod = dwfl_report_module(dwfl, m->mod_path, m->mod_start, m->mod_end);
        if (mod == NULL)
            continue;
        dwfl_module_info(mod, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
        *userdata = (void *)(uintptr_t)i;
        if (m->mod_build_id_size > 0)
            dwfl_module_report_build_id(mod, m->mod_build_id, m->mod_build_id_size, 0);
    }
    dwfl_report_end(dwfl, NULL, NULL);
    return dwfl;
}

/* --- Names --- */

/*
 * C++ names are demangled where the C++ library is installed, which it is
 * where there are such programs; linking it for that would burden all others.
 */
static void
copy_function(char *out, size_t size, const char *name)
{
    static char *(*demangle)(const char *, char *, size_t *, int *);
    static bool tried;
    if (!tried) {
        tried = true;
        void *lib = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);
        void *fn = lib != NULL ? dlsym(lib, "__cxa_demangle") : NULL;
        memcpy(&demangle, &fn, sizeof(fn)); /* ISO C has no cast for this */
    }
    char *plain = NULL;
    int status;
    if (demangle != NULL && strncmp(name, "_Z", 2) == 0)
        plain = demangle(name, NULL, NULL, &status);
    else
        plain = strndup(name, strcspn(name, "@")); /* less its version, name@@GLIBC_2.34 */
    snprintf(out, size, "%s", plain != NULL ? plain : name);
    free(plain);
}

static void
copy_file(char *out, size_t size, const char *file, const char *folder)
{
    if (file[0] != '/' && folder != NULL)
        snprintf(out, size, "%s/%s", folder, file);
    else
        snprintf(out, size, "%s", file);
}

static const char *
die_name(Dwarf_Die *die)
{
    Dwarf_Attribute attr;
    const char *name = NULL;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attr) != NULL ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attr) != NULL)
        name = dwarf_formstring(&attr);
    return name != NULL ? name : dwarf_diename(die);
}

static const char *
comp_dir(Dwarf_Die *cu)
{
    Dwarf_Attribute attr;
    return dwarf_attr(cu, DW_AT_comp_dir, &attr) != NULL ? dwarf_formstring(&attr) : NULL;
}

/* --- Looking up --- */

static void
set_line(Dwarf_Die *cu, Dwarf_Addr pc, struct symbol *sym)
{
    Dwarf_Line *line = dwarf_getsrc_die(cu, pc);
    const char *file = line != NULL ? dwarf_linesrc(line, NULL, NULL) : NULL;
    if (file == NULL)
        return;
    dwarf_lineno(line, &sym->sym_line);
    copy_file(sym->sym_file, sizeof(sym->sym_file), file, comp_dir(cu));
}

/* Where an inlined function was called: the line in the function around it. */
static void
set_call_site(Dwarf_Die *cu, Dwarf_Die *inlined, struct symbol *sym)
{
    Dwarf_Attribute attr;
    Dwarf_Word value;
    Dwarf_Files *files;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attr), &value) == 0)
        sym->sym_line = (int)value;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attr), &value) != 0 ||
        dwarf_getsrcfiles(cu, &files, NULL) != 0)
        return;
    const char *file = dwarf_filesrc(files, value, NULL, NULL);
    if (file != NULL)
        copy_file(sym->sym_file, sizeof(sym->sym_file), file, comp_dir(cu));
}

/*
 * Fills one record for each inlined function at pc and one for the function
 * around them, innermost first.  symbols[0] has its line already.  Returns the
 * number of records, at least 1.
 */
static size_t
name_functions(Dwarf_Die *cu, Dwarf_Addr pc, struct symbol *symbols, size_t max)
{
    Dwarf_Die functions[INLINED_MAX];
    size_t count = scopes_functions(cu, pc, functions, INLINED_MAX);
    size_t n = 0;
    while (count > 0 && n < max) {
        Dwarf_Die *die = &functions[--count];
        struct symbol *sym = &symbols[n++];
        const char *name = die_name(die);
        if (name != NULL)
            copy_function(sym->sym_function, sizeof(sym->sym_function), name);
        sym->sym_inlined = count > 0;
        if (count > 0 && n < max) {
            symbols[n] = (struct symbol){0};
            set_call_site(cu, die, &symbols[n]);
        }
    }
    return n > 0 ? n : 1;
}

size_t
symbolise_here(struct Dwfl *dwfl, struct target *t, addr_t addr, bool return_address,
               struct symbol *symbols, size_t max)
{
    addr_t pc = return_address ? addr - 1 : addr;
    size_t index = module_index(t, pc);
    Dwfl_Module *mod = dwfl_addrmodule(dwfl, pc);
    Dwarf_Addr bias;
    GElf_Off offset;
    GElf_Sym elf_symbol;
    size_t n = 1;
    if (mod == NULL || index == t->t_module_count || max == 0)
        return 0;
    symbols[0] = (struct symbol){0};
    Dwarf_Die *cu = scopes_unit(mod, pc, &bias);
    if (cu != NULL) {
        set_line(cu, pc - bias, &symbols[0]);
        n = name_functions(cu, pc - bias, symbols, max);
    }
    /* The symbol table names the real function, also where DWARF gives part of the name. */
    struct symbol *outer = &symbols[n - 1];
    const char *name = dwfl_module_addrinfo(mod, pc, &offset, &elf_symbol, NULL, NULL, NULL);
    if (name != NULL && !outer->sym_inlined) {
        copy_function(outer->sym_function, sizeof(outer->sym_function), name);
        outer->sym_offset = offset + (addr - pc);
    } else if (!outer->sym_inlined) {
        outer->sym_offset = addr - t->t_modules[index].mod_bias;
    }
    const char *path = t->t_modules[index].mod_path;
    const char *slash = strrchr(path, '/');
    for (size_t i = 0; i < n; i++)
        snprintf(symbols[i].sym_module, sizeof(symbols[i].sym_module), "%s",
                 slash != NULL ? slash + 1 : path);
    return n;
}
