/* SPDX-License-Identifier: MIT */
/*
 * contents.c - the library's contents log: what a buffer held when it was freed.
 *
 * A record that was being written just then is left out.  A library that has
 * no such log reads as one where it is off.
 */
#include "heap/heap.h"

/* Newest record of a buffer that was found so far. */
struct newest {
    uint64_t new_ticket; /* 0: none */
    addr_t new_bytes;
    uint64_t new_size;
};

static void
look_at_slot(struct heap *h, addr_t slot, addr_t buffer, struct newest *newest)
{
    const struct offsets *off = &h->heap_offsets;
    struct record rec = reader_record(&h->heap_reader, slot, off->size_umem_contents_slot);
    uint64_t ticket = record_get(&rec, 0, off->con_slot_ticket);

    if (record_get(&rec, 0, off->con_slot_addr) != buffer || ticket <= newest->new_ticket ||
        record_get(&rec, 0, off->con_slot_busy) != 0)
        return;
    *newest = (struct newest){.new_ticket = ticket,
                              .new_bytes = slot + off->con_slot_bytes.field_offset,
                              .new_size = record_get(&rec, 0, off->con_bytes_size)};
}

size_t
heap_freed_contents(struct heap *h, addr_t buffer, void *bytes, size_t max, uint64_t *kept)
{
    const struct offsets *off = &h->heap_offsets;
    struct record rec =
        reader_record(&h->heap_reader, off->at_umem_contents, off->size_umem_contents);
    addr_t log = record_get(&rec, 0, off->con_log);
    uint64_t slots = record_get(&rec, 0, off->con_slots);
    uint64_t stride = record_get(&rec, 0, off->con_slot_size);
    struct newest newest = {0};

    *kept = 0;
    if (off->at_umem_contents == 0 || log == 0 || buffer == 0 ||
        stride < off->size_umem_contents_slot || stride > SIZE_MAX / 2)
        return 0;
    for (uint64_t i = 0; i < slots; i++) {
        addr_t slot = log + i * stride;
        size_t got;
        if (reader_some(&h->heap_reader, slot, 1, &got) == NULL)
            break; /* damaged: there is no more */
        look_at_slot(h, slot, buffer, &newest);
    }
    if (newest.new_ticket == 0 || newest.new_size > stride)
        return 0;
    *kept = newest.new_size;
    return target_read(h->heap_target, newest.new_bytes, bytes,
                       newest.new_size < max ? (size_t)newest.new_size : max);
}
