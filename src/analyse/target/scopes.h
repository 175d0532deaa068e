/* SPDX-License-Identifier: MIT */
/*
 * scopes.h - the compilation unit and the functions around a code address;
 * only for symbolise.c, in the helper child.
 */
#ifndef ANALYSE_SCOPES_H
#define ANALYSE_SCOPES_H

#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <stddef.h>

/* The compilation unit of pc, also where the compiler wrote no .debug_aranges (clang); or NULL. */
Dwarf_Die *scopes_unit(Dwfl_Module *mod, Dwarf_Addr pc, Dwarf_Addr *bias);
/*
 * The function at pc (an address of the file), then those inlined into it
 * there, innermost last.  How many, 0 where none is known.
 */
size_t scopes_functions(Dwarf_Die *cu, Dwarf_Addr pc, Dwarf_Die *functions, size_t max);

#endif
