/* SPDX-License-Identifier: MIT */
/*
 * state.c - the library's settings and its message ring.
 */
#include "heap/heap.h"

#include <stdlib.h>
#include <string.h>

/* Rings of today are 16 KiB; a larger one than this is damage. */
#define RING_MAX ((uint64_t)1 << 24)

static uint64_t
sum_ranges(const struct ranges *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->count; i++)
        sum += r->list[i].range_end - r->list[i].range_start;
    return sum;
}

bool
heap_read_state(struct heap *h, struct heap_state *state)
{
    const struct offsets *off = &h->heap_offsets;
    struct record rec =
        reader_record(&h->heap_reader, off->at_umem_options, off->size_umem_options);

    *state = (struct heap_state){.st_ready = off->off_state == off->const_UMEM_STATE_READY};
    if (rec.rec_data == NULL)
        return false;
    uint64_t flags = record_get(&rec, 0, off->opt_flags);
    state->st_audit = (flags & off->const_UMF_AUDIT) != 0;
    state->st_guards = (flags & (off->const_UMF_DEADBEEF | off->const_UMF_REDZONE)) != 0;
    state->st_contents = (flags & off->const_UMF_CONTENTS) != 0;
    state->st_audit_frames = (unsigned)record_get(&rec, 0, off->opt_audit_frames);
    state->st_contents_bytes = record_get(&rec, 0, off->opt_contents_bytes);
    state->st_reap_interval_s = (unsigned)record_get(&rec, 0, off->opt_reap_interval_s);
    state->st_magazines = record_get(&rec, 0, off->opt_nomagazines) == 0;
    uint64_t firewall = record_get(&rec, 0, off->opt_firewall);
    state->st_firewall = off->opt_firewall.field_size != 0 &&
                         firewall != (off->off_word == 8 ? UINT64_MAX : UINT32_MAX);
    state->st_firewall_bytes = state->st_firewall ? firewall : 0;
    state->st_sample = (unsigned)record_get(&rec, 0, off->opt_sample);
    state->st_firewall_below = record_get(&rec, 0, off->opt_firewall_below) != 0;
    state->st_heap_bytes = sum_ranges(&h->heap_spans);
    state->st_heap_spans = h->heap_spans.count;
    state->st_own_bytes = sum_ranges(&h->heap_own);
    return true;
}

char *
heap_read_messages(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;
    uint64_t size = off->size_umem_ring - off->ring_text.field_offset;
    struct record rec = reader_record(&h->heap_reader, off->at_umem_ring, off->size_umem_ring);

    if (rec.rec_data == NULL || off->size_umem_ring <= off->ring_text.field_offset ||
        size > RING_MAX)
        return NULL;
    uint64_t head = record_get(&rec, 0, off->ring_head);
    const char *text = (const char *)rec.rec_data + off->ring_text.field_offset;
    uint64_t length = head < size ? head : size;
    char *out = malloc(length + 1);
    if (out == NULL)
        return NULL;
    for (uint64_t i = 0; i < length; i++)
        out[i] = text[(head - length + i) % size];
    out[length] = '\0';
    if (head > size) { /* the oldest line is cut */
        char *line = memchr(out, '\n', length);
        if (line != NULL)
            memmove(out, line + 1, length - (size_t)(line + 1 - out) + 1);
    }
    return out;
}
