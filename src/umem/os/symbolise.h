/* SPDX-License-Identifier: MIT */
/*
 * symbolise.h - names for addresses of code, when nothing in the process can
 * be trusted any more: no allocation, no lock of the dynamic loader.
 */
#ifndef UMEM_SYMBOLISE_H
#define UMEM_SYMBOLISE_H

#include "base/base.h"

/* What a symbol's text takes at most; longer C++ names are cut. */
#define OS_SYMBOL_SIZE 256

/*
 * Writes what addr, a return address, belongs to: "libfoo.so.1`function+0x21"
 * (the function that holds the call before addr, names as the linker knows
 * them), "libfoo.so.1+0x1234" where no symbol covers it (the offset is the
 * address as in the module's file), or "0x7f0123456789" where no module does.
 * At most size bytes, always terminated.  Returns the length.  The symbols are
 * read from the module's file (.symtab, else .dynsym), which costs a few
 * hundred microseconds an address.  Keeps errno. (AS)
 */
size_t os_symbolise(uintptr_t addr, char *buf, size_t size);

/*
 * The same for the address of data: "weblog`table+0x10", "libfoo.so.1+0x4010".
 * False: it is in no module, buf then has the address. (AS)
 */
bool os_symbolise_data(uintptr_t addr, char *buf, size_t size);

/*
 * Where the text of the library lies that this code is linked into.  False
 * where that is the program itself (static linking): its own code is then not
 * to be told from the program's.  (AS)
 */
bool os_own_text(uintptr_t *start, uintptr_t *end);

#endif
