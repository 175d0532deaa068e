/* SPDX-License-Identifier: MIT */
/*
 * offsets.h - where things lie in the target's libumem: the layout block
 * (umem/layout.h) of the target, looked up by name once and then used as
 * plain numbers.
 *
 * Nothing here knows the engine's headers, so one analyser reads every
 * version of the library and both word sizes.  A name that this analyser
 * needs and the target lacks is an error that names both; a name marked
 * optional reads as absent (size 0).
 */
#ifndef ANALYSE_HEAP_OFFSETS_H
#define ANALYSE_HEAP_OFFSETS_H

#include <string.h>

#include "target/target.h"

/* A field of a structure: offset in bytes, and its size (of one element for an array). */
struct field {
    uint32_t field_offset;
    uint32_t field_size; /* 0: this library has none */
};

/* X(structure, field, member here): fields every version must have. */
#define OFFSETS_FIELDS(X)                                                                          \
    X(umem_list, next, list_next)                                                                  \
    X(slab, slab_link, slab_link)                                                                  \
    X(slab, slab_pool, slab_pool)                                                                  \
    X(slab, slab_base, slab_base)                                                                  \
    X(slab, slab_span, slab_span)                                                                  \
    X(slab, slab_chunks, slab_chunks)                                                              \
    X(slab, slab_words, slab_words)                                                                \
    X(slab, slab_sidecar, slab_sidecar)                                                            \
    X(slab, slab_bitmap, slab_bitmap)                                                              \
    X(slab_pool, pool_chunks, pool_chunks)                                                         \
    X(slab_pool, pool_chunk_size, pool_chunk_size)                                                 \
    X(slab_pool, pool_slab_size, pool_slab_size)                                                   \
    X(slab_pool, pool_sidecar, pool_sidecar)                                                       \
    X(slab_pool, pool_partial, pool_partial)                                                       \
    X(slab_pool, pool_full, pool_full)                                                             \
    X(slab_pool, pool_empty, pool_empty)                                                           \
    X(slab_pool, pool_slabs, pool_slabs)                                                           \
    X(slab_pool, pool_fails, pool_fails)                                                           \
    X(magazine, mag_next, mag_next)                                                                \
    X(magazine, mag_size, mag_size)                                                                \
    X(magazine, mag_rounds, mag_rounds)                                                            \
    X(magazine, mag_round, mag_round)                                                              \
    X(magazine_list, list_head, list_head)                                                         \
    X(magazine_list, list_count, list_count)                                                       \
    X(depot, depot_full, depot_full)                                                               \
    X(tbin, bin_cur, bin_cur)                                                                      \
    X(tbin, bin_credit, bin_credit)                                                                \
    X(tbin, bin_granted, bin_granted)                                                              \
    X(tbin, bin_loaded, bin_loaded)                                                                \
    X(tbin, bin_previous, bin_previous)                                                            \
    X(tcache, tc_bins, tc_bins)                                                                    \
    X(tcache, tc_link, tc_link)                                                                    \
    X(tcache, tc_thread, tc_thread)                                                                \
    X(tcache, tc_bin, tc_bin)                                                                      \
    X(umem_cache, cache_slow_bin, cache_slow_bin)                                                  \
    X(umem_cache, cache_flags, cache_flags)                                                        \
    X(umem_cache, cache_cflags, cache_cflags)                                                      \
    X(umem_cache, cache_bufsize, cache_bufsize)                                                    \
    X(umem_cache, cache_bufspace, cache_bufspace)                                                  \
    X(umem_cache, cache_depot, cache_depot)                                                        \
    X(umem_cache, cache_slabs, cache_slabs)                                                        \
    X(umem_cache, cache_link, cache_link)                                                          \
    X(umem_cache, cache_name, cache_name)                                                          \
    X(umem_cache, cache_slow_allocs, cache_slow_allocs)                                            \
    X(umem_cache, cache_retired_allocs, cache_retired_allocs)                                      \
    X(umem_cache, cache_fails, cache_fails)                                                        \
    X(umem_large, large_link, large_link)                                                          \
    X(umem_large, large_base, large_base)                                                          \
    X(umem_large, large_size, large_size)                                                          \
    X(umem_large, large_span_size, large_span_size)                                                \
    X(umem_large, large_bufctl, large_bufctl)                                                      \
    X(umem_transaction, txn_stack, txn_stack)                                                      \
    X(umem_transaction, txn_when, txn_when)                                                        \
    X(umem_bufctl, bc_last, bc_last)                                                               \
    X(umem_bufctl, bc_prev, bc_prev)                                                               \
    X(umem_bufctl, bc_size, bc_size)                                                               \
    X(umem_bufctl, bc_state, bc_state)                                                             \
    X(umem_stack, stack_depth, stack_depth)                                                        \
    X(umem_stack, stack_frame, stack_frame)                                                        \
    X(vmem_seg, seg_start, seg_start)                                                              \
    X(vmem_seg, seg_end, seg_end)                                                                  \
    X(vmem_seg, seg_type, seg_type)                                                                \
    X(vmem_seg, seg_import, seg_import)                                                            \
    X(vmem_seg, seg_order, seg_order)                                                              \
    X(vmem_stats, vms_inuse, vms_inuse)                                                            \
    X(vmem_stats, vms_total, vms_total)                                                            \
    X(vmem_stats, vms_import, vms_import)                                                          \
    X(vmem_stats, vms_allocs, vms_allocs)                                                          \
    X(vmem_stats, vms_fails, vms_fails)                                                            \
    X(vmem, vm_name, vm_name)                                                                      \
    X(vmem, vm_source, vm_source)                                                                  \
    X(vmem, vm_order, vm_order)                                                                    \
    X(vmem, vm_stats, vm_stats)                                                                    \
    X(vmem, vm_link, vm_link)                                                                      \
    X(umem_meta_chunk, chunk_next, chunk_next)                                                     \
    X(umem_meta_chunk, chunk_size, chunk_size)                                                     \
    X(umem_ring, ring_head, ring_head)                                                             \
    X(umem_ring, ring_text, ring_text)                                                             \
    X(umem_options, opt_flags, opt_flags)                                                          \
    X(umem_options, opt_audit_frames, opt_audit_frames)                                            \
    X(umem_options, opt_contents_bytes, opt_contents_bytes)                                        \
    X(umem_options, opt_reap_interval_s, opt_reap_interval_s)                                      \
    X(umem_options, opt_nomagazines, opt_nomagazines)

/* Fields that a library may lack: what depends on them is then left out. */
#define OFFSETS_OPTIONAL_FIELDS(X)                                                                 \
    X(umem_cache, cache_dtor, cache_dtor)                                                          \
    X(umem_cache, cache_reserve, cache_reserve)                                                    \
    X(reserve, res_nodes, res_nodes)                                                               \
    X(reserve, res_node, res_node)                                                                 \
    X(reserve_node, node_obj, node_obj)                                                            \
    X(slab, slab_free, slab_free)                                                                  \
    X(slab, slab_purging, slab_purging)                                                            \
    X(slab_pool, pool_lock_word, pool_lock_word)                                                   \
    X(slab_pool, pool_allocated, pool_allocated)                                                   \
    X(depot, depot_lock_word, depot_lock_word)                                                     \
    X(tcache, tc_lock_word, tc_lock_word)                                                          \
    X(umem_large, large_flags, large_flags)                                                        \
    X(umem_large, large_lead, large_lead)                                                          \
    X(umem_bufctl, bc_turns, bc_turns)                                                             \
    X(umem_buftag, buftag_redzone, buftag_redzone)                                                 \
    X(umem_buftag, buftag_size, buftag_size)                                                       \
    X(umem_buftag, buftag_bufctl, buftag_bufctl)                                                   \
    X(umem_buftag, buftag_state, buftag_state)                                                     \
    X(umem_firewall, fw_base, fw_base)                                                             \
    X(umem_firewall, fw_first, fw_first)                                                           \
    X(umem_firewall, fw_blocks, fw_blocks)                                                         \
    X(umem_firewall, fw_body, fw_body)                                                             \
    X(umem_firewall, fw_link, fw_link)                                                             \
    X(umem_firewall, fw_used, fw_used)                                                             \
    X(umem_firewall, fw_block, fw_block)                                                           \
    X(umem_firewall_block, fwb_base, fwb_base)                                                     \
    X(umem_firewall_block, fwb_cache, fwb_cache)                                                   \
    X(umem_firewall_block, fwb_bufctl, fwb_bufctl)                                                 \
    X(umem_options, opt_sample, opt_sample)                                                        \
    X(umem_options, opt_firewall, opt_firewall)                                                    \
    X(umem_options, opt_firewall_below, opt_firewall_below)                                        \
    X(umem_options, opt_transaction_log, opt_transaction_log)                                      \
    X(umem_options, opt_fail_log, opt_fail_log)                                                    \
    X(umem_options, opt_slab_log, opt_slab_log)                                                    \
    X(umem_event_log, log_events, log_events)                                                      \
    X(umem_event_log, log_head, log_head)                                                          \
    X(umem_event_log, log_slots, log_slots)                                                        \
    X(umem_event, event_time, event_time)                                                          \
    X(umem_event, event_addr, event_addr)                                                          \
    X(umem_event, event_cache, event_cache)                                                        \
    X(umem_event, event_size, event_size)                                                          \
    X(umem_event, event_stack, event_stack)                                                        \
    X(umem_event, event_thread, event_thread)                                                      \
    X(umem_contents, con_log, con_log)                                                             \
    X(umem_contents, con_slots, con_slots)                                                         \
    X(umem_contents, con_slot_size, con_slot_size)                                                 \
    X(umem_contents_slot, slot_busy, con_slot_busy)                                                \
    X(umem_contents_slot, slot_size, con_bytes_size)                                               \
    X(umem_contents_slot, slot_ticket, con_slot_ticket)                                            \
    X(umem_contents_slot, slot_addr, con_slot_addr)                                                \
    X(umem_contents_slot, slot_bytes, con_slot_bytes)

/* X(structure): sizes. */
#define OFFSETS_STRUCTS(X)                                                                         \
    X(umem_list)                                                                                   \
    X(slab)                                                                                        \
    X(magazine)                                                                                    \
    X(tbin)                                                                                        \
    X(tcache)                                                                                      \
    X(umem_cache)                                                                                  \
    X(umem_large)                                                                                  \
    X(umem_bufctl)                                                                                 \
    X(umem_stack)                                                                                  \
    X(vmem_seg)                                                                                    \
    X(vmem)                                                                                        \
    X(umem_meta_chunk)                                                                             \
    X(umem_ring)                                                                                   \
    X(umem_options)

#define OFFSETS_CONSTANTS(X)                                                                       \
    X(UMEM_STATE_READY)                                                                            \
    X(UMEM_STACKS_SEGMENT_SHIFT)                                                                   \
    X(UMEM_STACKS_SEGMENTS)                                                                        \
    X(UMEM_PAGEMAP_ROOT_BITS)                                                                      \
    X(UMEM_PAGEMAP_LEAF_BITS)                                                                      \
    X(UMEM_PAGEMAP_POINTER_MASK)                                                                   \
    X(UMEM_PAGEMAP_SLAB)                                                                           \
    X(UMEM_GRANULE_SHIFT)                                                                          \
    X(UMF_AUDIT)                                                                                   \
    X(UMF_DEADBEEF)                                                                                \
    X(UMF_REDZONE)                                                                                 \
    X(UMF_CONTENTS)                                                                                \
    X(UMEM_TXN_THREAD_BITS)                                                                        \
    X(UMEM_TXN_TIME_SHIFT)                                                                         \
    X(UMEM_BUFFER_RAW)                                                                             \
    X(UMEM_BUFFER_ALLOCATED)                                                                       \
    X(UMEM_BUFFER_FREE)                                                                            \
    X(VMEM_SEG_ALLOC)                                                                              \
    X(VMEM_SEG_SPAN)

/* X(variable): address in the target. */
#define OFFSETS_ADDRESSES(X)                                                                       \
    X(umem_state)                                                                                  \
    X(umem_caches)                                                                                 \
    X(umem_tcaches)                                                                                \
    X(umem_larges)                                                                                 \
    X(vmem_arenas)                                                                                 \
    X(umem_meta_chunks)                                                                            \
    X(umem_stacks_segment)                                                                         \
    X(umem_pagemap_root)                                                                           \
    X(umem_ring)                                                                                   \
    X(umem_options)

/* Variables that it may lack: 0 then. */
#define OFFSETS_OPTIONAL_ADDRESSES(X)                                                              \
    X(umem_firewalls)                                                                              \
    X(umem_transaction_log)                                                                        \
    X(umem_fail_log)                                                                               \
    X(umem_slab_log)                                                                               \
    X(umem_contents)

/* Structures and constants, the same. */
#define OFFSETS_OPTIONAL_STRUCTS(X)                                                                \
    X(umem_buftag)                                                                                 \
    X(umem_event)                                                                                  \
    X(umem_event_log)                                                                              \
    X(umem_contents)                                                                               \
    X(umem_contents_slot)

#define OFFSETS_OPTIONAL_CONSTANTS(X)                                                              \
    X(UMF_STATE)                                                                                   \
    X(UMEM_FREE_PATTERN)                                                                           \
    X(UMEM_REDZONE_PATTERN)                                                                        \
    X(UMEM_SLACK_WORD)                                                                             \
    X(UMEM_SIZE_PRIME)                                                                             \
    X(UMEM_BUFTAG_ALLOCATED)                                                                       \
    X(UMEM_BUFTAG_FREE)                                                                            \
    X(VMEM_SEG_FREE)                                                                               \
    X(UMEM_EVENT_KIND_BITS)                                                                        \
    X(UMEM_EVENT_BUSY)                                                                             \
    X(UMEM_EVENT_ALLOC)                                                                            \
    X(UMEM_EVENT_FREE)                                                                             \
    X(UMEM_EVENT_RESIZE)                                                                           \
    X(UMEM_EVENT_FAIL)                                                                             \
    X(UMEM_EVENT_SLAB_MADE)                                                                        \
    X(UMEM_EVENT_SLAB_DESTROYED)

#define OFFSETS_DECLARE_FIELD(type, name, member) struct field member;
#define OFFSETS_DECLARE_STRUCT(type) uint32_t size_##type;
#define OFFSETS_DECLARE_CONSTANT(name) uint64_t const_##name;
#define OFFSETS_DECLARE_ADDRESS(name) addr_t at_##name;

/* The library's own variables: never roots. */
#define OFFSETS_VARIABLES_MAX 64
struct variable {
    addr_t var_start;
    addr_t var_end;
};

struct offsets {
    addr_t off_block;     /* address of the layout block */
    char off_module[256]; /* file name of the library (or of the program that holds it) */
    addr_t off_module_start;
    addr_t off_module_end;
    unsigned off_word;  /* bytes of a pointer: 4 or 8 */
    uint32_t off_state; /* value of umem_state */
    struct variable off_variable[OFFSETS_VARIABLES_MAX];
    size_t off_variables;
    OFFSETS_FIELDS(OFFSETS_DECLARE_FIELD)
    OFFSETS_OPTIONAL_FIELDS(OFFSETS_DECLARE_FIELD)
    OFFSETS_STRUCTS(OFFSETS_DECLARE_STRUCT)
    OFFSETS_OPTIONAL_STRUCTS(OFFSETS_DECLARE_STRUCT)
    OFFSETS_OPTIONAL_CONSTANTS(OFFSETS_DECLARE_CONSTANT)
    OFFSETS_CONSTANTS(OFFSETS_DECLARE_CONSTANT)
    OFFSETS_ADDRESSES(OFFSETS_DECLARE_ADDRESS)
    OFFSETS_OPTIONAL_ADDRESSES(OFFSETS_DECLARE_ADDRESS)
};

enum offsets_status {
    OFFSETS_OK,
    OFFSETS_NO_LIBRARY, /* no layout block in the target */
    OFFSETS_UNREADABLE, /* there is one, and it does not make sense */
    OFFSETS_TOO_OLD     /* it lacks a name */
};

/*
 * Finds the layout block in any module (the one in use where several have
 * one) and resolves every name.  Otherwise why[] says what is wrong, without
 * the target's name.
 */
enum offsets_status offsets_load(struct target *t, struct offsets *off, char *why, size_t size);

/* Bytes of the target that were read: a structure, with what it embeds. */
struct record {
    const unsigned char *rec_data; /* NULL: could not be read */
    size_t rec_size;
    addr_t rec_addr; /* where it lies in the target */
};

/*
 * The unsigned field f of the structure at offset base of the record.  0 where
 * the library has no such field, or it lies outside what was read: a damaged
 * layout block gives wrong answers, never a wild read.
 */
static inline uint64_t
record_get(const struct record *rec, uint64_t base, struct field f)
{
    uint64_t offset = base + f.field_offset;
    uint64_t u64;
    uint32_t u32;
    uint16_t u16;

    if (rec->rec_data == NULL || offset > rec->rec_size || f.field_size > rec->rec_size - offset)
        return 0;
    switch (f.field_size) {
    case 8:
        memcpy(&u64, rec->rec_data + offset, 8);
        return u64;
    case 6: /* a bit-field's bytes */
        u64 = 0;
        memcpy(&u64, rec->rec_data + offset, 6);
        return u64;
    case 4:
        memcpy(&u32, rec->rec_data + offset, 4);
        return u32;
    case 2:
        memcpy(&u16, rec->rec_data + offset, 2);
        return u16;
    case 1:
        return rec->rec_data[offset];
    default:
        return 0;
    }
}

/* A pointer of word bytes (4 or 8) at p, which need not be aligned. */
static inline uint64_t
word_get(const unsigned char *p, unsigned word)
{
    uint64_t u64;
    uint32_t u32;

    if (word == sizeof(u64)) {
        memcpy(&u64, p, sizeof(u64));
        return u64;
    }
    memcpy(&u32, p, sizeof(u32));
    return u32;
}

#endif
