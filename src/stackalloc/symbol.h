/* SPDX-License-Identifier: MIT */
/*
 * symbol.h - the function that an address is in, from within a handler of a
 * signal.
 *
 * dladdr() takes the lock of the dynamic linker, which the thread that
 * faulted may hold, and knows exported functions only.  This reads
 * /proc/self/maps and the symbol table of the file mapped there, static functions
 * included, and needs some 2 KiB of stack, no lock and no memory.
 */
#ifndef STACKALLOC_SYMBOL_H
#define STACKALLOC_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYMBOL_MODULE_MAX 48
#define SYMBOL_NAME_MAX 96

struct symbol {
    char symbol_module[SYMBOL_MODULE_MAX]; /* the file's name, cut */
    char symbol_name[SYMBOL_NAME_MAX];     /* cut; empty where the file has none */
    size_t symbol_offset;                  /* from the start of the function, else of the file */
};

/* False where the address is in no file.  Async-signal-safe. */
bool symbol_find(uintptr_t address, struct symbol *symbol);

#endif
