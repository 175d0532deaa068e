/* SPDX-License-Identifier: MIT */
/*
 * scopes.c - which compilation unit and which functions hold a code address,
 * by tables that are built once; runs in the helper child only.
 *
 * libdw's own search walks every entry of a compilation unit for each address,
 * which takes milliseconds where one unit is a whole library.  Here the units
 * of a module (where the compiler wrote no .debug_aranges) and the functions
 * of a unit become sorted tables at the first question; within a function the
 * inlined ones are found by descending.  Tables live as long as the child.
 */
#include "target/target_impl.h"
#include "target/scopes.h"

#include <dwarf.h>
#include <stdlib.h>

struct range {
    Dwarf_Addr rng_low;
    Dwarf_Addr rng_high;
    Dwarf_Die rng_die;
};

/* The ranges of all children of one thing, by address. */
struct table {
    struct table *tab_next;
    const void *tab_key; /* a unit's address in memory, or the module */
    struct range *tab_ranges;
    size_t tab_count;
};

/* A hash of few thousand units, as large programs have them. */
#define TABLE_BUCKETS 4096
static struct table *tables[TABLE_BUCKETS];

static int
compare_ranges(const void *a, const void *b)
{
    const struct range *x = a;
    const struct range *y = b;
    return (x->rng_low > y->rng_low) - (x->rng_low < y->rng_low);
}

static void
add_ranges(struct table *tab, Dwarf_Die *die)
{
    Dwarf_Addr base;
    Dwarf_Addr low;
    Dwarf_Addr high;
    for (ptrdiff_t at = 0; (at = dwarf_ranges(die, at, &base, &low, &high)) > 0;) {
        tab->tab_ranges = target_grow(tab->tab_ranges, tab->tab_count, sizeof(struct range));
        tab->tab_ranges[tab->tab_count++] = (struct range){low, high, *die};
    }
}

/* The table of a key; *fresh: it is new and empty, to be filled. */
static struct table *
table_of(const void *key, bool *fresh)
{
    /* Units lie some ten bytes apart at least. */
    struct table **bucket = &tables[((uintptr_t)key >> 4) % TABLE_BUCKETS];
    *fresh = false;
    for (struct table *tab = *bucket; tab != NULL; tab = tab->tab_next)
        if (tab->tab_key == key)
            return tab;
    struct table *tab = calloc(1, sizeof(*tab));
    if (tab == NULL)
        return NULL;
    tab->tab_key = key;
    tab->tab_next = *bucket;
    *bucket = tab;
    *fresh = true;
    return tab;
}

static void
sort_table(struct table *tab)
{
    if (tab->tab_count > 0)
        qsort(tab->tab_ranges, tab->tab_count, sizeof(struct range), compare_ranges);
}

static Dwarf_Die *
find_range(const struct table *tab, Dwarf_Addr pc)
{
    size_t low = 0;
    size_t high = tab->tab_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (tab->tab_ranges[mid].rng_low <= pc)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || tab->tab_ranges[low - 1].rng_high <= pc)
        return NULL;
    return &tab->tab_ranges[low - 1].rng_die;
}

Dwarf_Die *
scopes_unit(Dwfl_Module *mod, Dwarf_Addr pc, Dwarf_Addr *bias)
{
    bool fresh;
    Dwarf_Die *cu = dwfl_module_addrdie(mod, pc, bias);
    if (cu != NULL)
        return cu;
    struct table *tab = table_of(mod, &fresh);
    if (tab == NULL || dwfl_module_getdwarf(mod, bias) == NULL)
        return NULL;
    if (fresh) {
        while ((cu = dwfl_module_nextcu(mod, cu, bias)) != NULL)
            add_ranges(tab, cu);
        sort_table(tab);
    }
    return find_range(tab, pc - *bias);
}

static int
add_function(Dwarf_Die *die, void *arg)
{
    add_ranges(arg, die);
    return DWARF_CB_OK;
}

/* The child of die that holds pc and may be or hold an inlined function. */
static bool
descend(Dwarf_Die *die, Dwarf_Addr pc, Dwarf_Die *next)
{
    if (dwarf_child(die, next) != 0)
        return false;
    do {
        int tag = dwarf_tag(next);
        if ((tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block ||
             tag == DW_TAG_try_block || tag == DW_TAG_catch_block) &&
            dwarf_haspc(next, pc) > 0)
            return true;
    } while (dwarf_siblingof(next, next) == 0);
    return false;
}

size_t
scopes_functions(Dwarf_Die *cu, Dwarf_Addr pc, Dwarf_Die *functions, size_t max)
{
    bool fresh;
    size_t n = 0;
    struct table *tab = table_of(cu->addr, &fresh);
    if (tab == NULL)
        return 0;
    if (fresh) {
        dwarf_getfuncs(cu, add_function, tab, 0);
        sort_table(tab);
    }
    Dwarf_Die *function = find_range(tab, pc);
    if (function == NULL || max == 0)
        return 0;
    Dwarf_Die die = functions[n++] = *function;
    Dwarf_Die next;
    while (n < max && descend(&die, pc, &next)) {
        if (dwarf_tag(&next) == DW_TAG_inlined_subroutine)
            functions[n++] = next;
        die = next;
    }
    return n;
}
