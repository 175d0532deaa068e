/* SPDX-License-Identifier: MIT */
/*
 * layout.h - the layout block: what an analyser must know of the engine's
 * structures to read them in a core file or a live process.
 *
 * The library exports one object, umem_layout, in writable data (so that every
 * kind of core file holds it).  It describes itself: an analyser looks entries
 * up by name and needs neither debug information nor these headers, and one
 * analyser reads every version of the library.  This header is all that the
 * analyser shares with the engine.
 *
 * Rules of change: names keep their meaning for ever; a field that changes its
 * meaning gets a new name; new entries may appear anywhere.  The version rises
 * only when the block's own format changes.
 */
#ifndef UMEM_LAYOUT_H
#define UMEM_LAYOUT_H

#include <stdint.h>

#define UMEM_LAYOUT_SYMBOL "umem_layout"
#define UMEM_LAYOUT_MAGIC "umem layout 1\n" /* 15 bytes with its terminator */
#define UMEM_LAYOUT_VERSION 1

enum umem_layout_kind {
    UMEM_LAYOUT_STRUCT = 1,   /* "slab": value 0, size of the structure */
    UMEM_LAYOUT_FIELD = 2,    /* "slab.slab_base": value is the offset, size of the field */
    UMEM_LAYOUT_CONSTANT = 3, /* "UMEM_GRANULE_SHIFT": the value */
    UMEM_LAYOUT_ADDRESS = 4   /* "umem_caches": address of the variable, its size */
};

struct umem_layout_entry {
    char entry_name[44];
    uint32_t entry_kind;
    union {
        uint64_t entry_value;
        /* As the linker fills it in: no wider than a pointer, which has to come first. */
        const volatile void *entry_address;
    };
    uint64_t entry_size;
};

struct umem_layout_block {
    char layout_magic[16];
    uint32_t layout_version;
    uint32_t layout_pointer_size; /* bytes of a pointer in the target */
    uint32_t layout_entry_size;   /* sizeof(struct umem_layout_entry) */
    uint32_t layout_entry_count;
    struct umem_layout_entry layout_entry[];
};

#endif
