/* SPDX-License-Identifier: MIT */
/*
 * dynamic.h - the dynamic symbols of a loaded module, as the loader has them in
 * memory.
 */
#ifndef UMEM_DYNAMIC_H
#define UMEM_DYNAMIC_H

#include <link.h>

#include "base/base.h"

/* Of this machine's word size. */
typedef ElfW(Sym) os_elf_symbol;
typedef ElfW(Dyn) os_elf_dynamic;
typedef ElfW(Addr) os_elf_address;

struct os_dynamic {
    const os_elf_symbol *dyn_symbols;
    const char *dyn_strings;
    size_t dyn_count; /* symbols */
};

/*
 * The tables that a module's dynamic section names; bias: its address in memory
 * less that in the file.  False: it has none.  (AS)
 */
bool os_dynamic_tables(const os_elf_dynamic *section, uintptr_t bias, struct os_dynamic *out);

/*
 * Has libc define the functions of these names as the program's global scope
 * does: for modules that are loaded from now on and ask libc first
 * (RTLD_DEEPBIND).  Names that it does not have are passed over.  False: its
 * table cannot be written.  May allocate, takes locks of the loader; once.
 */
bool os_libc_follows(const char *const *names, size_t n);

#endif
