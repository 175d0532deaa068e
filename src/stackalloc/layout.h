/* SPDX-License-Identifier: MIT */
/*
 * layout.h - the layout block of this library: what an analyser must know to
 * find the stacks of a process in a core file.
 *
 * The object stack_layout, exported for that alone, has the format of the
 * engine's umem_layout: see src/umem/layout.h, whose rules of change hold here.
 * From its entries the table of stacks can be walked: table_root to nodes to
 * slots, whose words tell base, size and state.
 */
#ifndef STACKALLOC_LAYOUT_H
#define STACKALLOC_LAYOUT_H

#include "../umem/layout.h"

#define STACK_LAYOUT_SYMBOL "stack_layout"
/* Another than the engine's, which analysers search memory for. */
#define STACK_LAYOUT_MAGIC "stack layout 1\n"

extern struct umem_layout_block stack_layout;

#endif
