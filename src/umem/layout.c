/* SPDX-License-Identifier: MIT */
/*
 * layout.c - fills the layout block (layout.h) from offsetof and sizeof, so
 * that it cannot drift from the structures.  Sits above every layer; nothing
 * in the engine reads it.
 */
#include "layout.h"

#include "base/base.h"
#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/reserve.h"
#include "debug/bufctl.h"
#include "debug/contents.h"
#include "debug/debug.h"
#include "debug/events.h"
#include "debug/pattern.h"
#include "debug/ring.h"
#include "debug/stacks.h"
#include "magazine/depot.h"
#include "magazine/tcache.h"
#include "os/meta.h"
#include "slab/pagemap.h"
#include "slab/slab.h"
#include "vmem/vmem_impl.h"

#define ENTRY(name, kind, value, size)                                                             \
    {                                                                                              \
        .entry_name = name, .entry_kind = UMEM_LAYOUT_##kind, .entry_value = (value),              \
        .entry_size = (size)                                                                       \
    }
#define SIZE_OF(type, field) sizeof(((struct type *)0)->field)
#define STRUCT(type) ENTRY(#type, STRUCT, 0, sizeof(struct type))
/* A field that an inner structure holds has a name of its own. */
#define NESTED(type, name, field)                                                                  \
    ENTRY(#type "." #name, FIELD, offsetof(struct type, field), SIZE_OF(type, field))
#define FIELD(type, field) NESTED(type, field, field)
/* A flexible array: its offset, and the size of one element. */
#define ARRAY(type, field)                                                                         \
    ENTRY(#type "." #field, FIELD, offsetof(struct type, field), SIZE_OF(type, field[0]))
#define CONSTANT(name) ENTRY(#name, CONSTANT, (uint64_t)(name), 0)
#define ADDRESS(name)                                                                              \
    {                                                                                              \
        .entry_name = #name, .entry_kind = UMEM_LAYOUT_ADDRESS, .entry_address = &(name),          \
        .entry_size = sizeof(name)                                                                 \
    }

#define ENTRIES                                                                                    \
    STRUCT(umem_list), FIELD(umem_list, next), FIELD(umem_list, prev),                             \
                                                                                                   \
        STRUCT(slab), FIELD(slab, slab_link), FIELD(slab, slab_pool), FIELD(slab, slab_base),      \
        FIELD(slab, slab_span), FIELD(slab, slab_chunks), FIELD(slab, slab_free),                  \
        FIELD(slab, slab_words), FIELD(slab, slab_sidecar), FIELD(slab, slab_purging),             \
        ARRAY(slab, slab_bitmap),                                                                  \
                                                                                                   \
        STRUCT(slab_pool), NESTED(slab_pool, pool_lock_word, pool_lock.lock_word),                 \
        FIELD(slab_pool, pool_chunks), FIELD(slab_pool, pool_chunk_size),                          \
        FIELD(slab_pool, pool_slab_size), FIELD(slab_pool, pool_align),                            \
        FIELD(slab_pool, pool_arena), FIELD(slab_pool, pool_sidecar), FIELD(slab_pool, pool_bin),  \
        FIELD(slab_pool, pool_partial), FIELD(slab_pool, pool_full), FIELD(slab_pool, pool_empty), \
        FIELD(slab_pool, pool_slabs), FIELD(slab_pool, pool_slabs_empty),                          \
        FIELD(slab_pool, pool_allocated), FIELD(slab_pool, pool_creates),                          \
        FIELD(slab_pool, pool_destroys), FIELD(slab_pool, pool_fails),                             \
                                                                                                   \
        STRUCT(magazine), FIELD(magazine, mag_next), FIELD(magazine, mag_size),                    \
        FIELD(magazine, mag_rounds), ARRAY(magazine, mag_round),                                   \
                                                                                                   \
        STRUCT(magazine_list), FIELD(magazine_list, list_head), FIELD(magazine_list, list_count),  \
        FIELD(magazine_list, list_min),                                                            \
                                                                                                   \
        STRUCT(depot), NESTED(depot, depot_lock_word, depot_lock.lock_word),                       \
        FIELD(depot, depot_mag_size), FIELD(depot, depot_contention), FIELD(depot, depot_full),    \
        FIELD(depot, depot_empty), FIELD(depot, depot_rounds),                                     \
                                                                                                   \
        STRUCT(tbin), FIELD(tbin, bin_cur), FIELD(tbin, bin_base), FIELD(tbin, bin_limit),         \
        FIELD(tbin, bin_credit), FIELD(tbin, bin_granted), FIELD(tbin, bin_loaded),                \
        FIELD(tbin, bin_previous),                                                                 \
                                                                                                   \
        STRUCT(tcache), FIELD(tcache, tc_bins), FIELD(tcache, tc_state),                           \
        NESTED(tcache, tc_lock_word, tc_lock.lock_word), FIELD(tcache, tc_link),                   \
        FIELD(tcache, tc_thread), FIELD(tcache, tc_size), ARRAY(tcache, tc_bin),                   \
                                                                                                   \
        STRUCT(umem_cache), FIELD(umem_cache, cache_bin), FIELD(umem_cache, cache_slow_bin),       \
        FIELD(umem_cache, cache_flags), FIELD(umem_cache, cache_cflags),                           \
        FIELD(umem_cache, cache_bufsize), FIELD(umem_cache, cache_bufspace),                       \
        FIELD(umem_cache, cache_depot), FIELD(umem_cache, cache_slabs),                            \
        FIELD(umem_cache, cache_link), FIELD(umem_cache, cache_name),                              \
        FIELD(umem_cache, cache_dtor), FIELD(umem_cache, cache_slow_allocs),                       \
        NESTED(umem_cache, cache_retired_allocs, cache_depot.depot_retired_allocs),                \
        FIELD(umem_cache, cache_fails), FIELD(umem_cache, cache_reserve),                          \
        FIELD(umem_cache, cache_breaches),                                                         \
                                                                                                   \
        STRUCT(reserve), FIELD(reserve, res_nodes), ARRAY(reserve, res_node),                      \
        STRUCT(reserve_node), FIELD(reserve_node, node_obj),                                       \
                                                                                                   \
        STRUCT(umem_large), FIELD(umem_large, large_link), FIELD(umem_large, large_base),          \
        FIELD(umem_large, large_size), FIELD(umem_large, large_span_size),                         \
        FIELD(umem_large, large_bufctl), FIELD(umem_large, large_flags),                           \
        FIELD(umem_large, large_lead),                                                             \
                                                                                                   \
        STRUCT(umem_firewall), FIELD(umem_firewall, fw_link), FIELD(umem_firewall, fw_used),       \
        FIELD(umem_firewall, fw_base), FIELD(umem_firewall, fw_first),                             \
        FIELD(umem_firewall, fw_body), FIELD(umem_firewall, fw_blocks),                            \
        ARRAY(umem_firewall, fw_block), STRUCT(umem_firewall_block),                               \
        FIELD(umem_firewall_block, fwb_base), FIELD(umem_firewall_block, fwb_cache),               \
        FIELD(umem_firewall_block, fwb_bufctl),                                                    \
                                                                                                   \
        STRUCT(umem_transaction), FIELD(umem_transaction, txn_stack),                              \
        FIELD(umem_transaction, txn_when), CONSTANT(UMEM_TXN_THREAD_BITS),                         \
        CONSTANT(UMEM_TXN_TIME_SHIFT), STRUCT(umem_bufctl), FIELD(umem_bufctl, bc_last),           \
        FIELD(umem_bufctl, bc_prev),                                                               \
        ENTRY("umem_bufctl.bc_size", FIELD, 0, UMEM_BUFCTL_SIZE_BITS / 8),                         \
        FIELD(umem_bufctl, bc_state), FIELD(umem_bufctl, bc_turns), STRUCT(umem_buftag),           \
        FIELD(umem_buftag, buftag_redzone), FIELD(umem_buftag, buftag_size),                       \
        FIELD(umem_buftag, buftag_bufctl), FIELD(umem_buftag, buftag_state),                       \
                                                                                                   \
        STRUCT(umem_stack), FIELD(umem_stack, stack_depth), ARRAY(umem_stack, stack_frame),        \
                                                                                                   \
        STRUCT(vmem_seg), FIELD(vmem_seg, seg_start), FIELD(vmem_seg, seg_end),                    \
        FIELD(vmem_seg, seg_type), FIELD(vmem_seg, seg_import), FIELD(vmem_seg, seg_order),        \
        STRUCT(vmem_stats), FIELD(vmem_stats, vms_inuse), FIELD(vmem_stats, vms_total),            \
        FIELD(vmem_stats, vms_import), FIELD(vmem_stats, vms_allocs),                              \
        FIELD(vmem_stats, vms_frees), FIELD(vmem_stats, vms_fails), STRUCT(vmem),                  \
        FIELD(vmem, vm_name), FIELD(vmem, vm_quantum), FIELD(vmem, vm_source),                     \
        FIELD(vmem, vm_order), FIELD(vmem, vm_stats), FIELD(vmem, vm_link),                        \
                                                                                                   \
        STRUCT(umem_meta_chunk), FIELD(umem_meta_chunk, chunk_next),                               \
        FIELD(umem_meta_chunk, chunk_size),                                                        \
                                                                                                   \
        STRUCT(umem_ring), FIELD(umem_ring, ring_head), ARRAY(umem_ring, ring_text),               \
                                                                                                   \
        STRUCT(umem_event), FIELD(umem_event, event_time), FIELD(umem_event, event_addr),          \
        FIELD(umem_event, event_cache), FIELD(umem_event, event_size),                             \
        FIELD(umem_event, event_stack), FIELD(umem_event, event_thread), STRUCT(umem_event_log),   \
        FIELD(umem_event_log, log_events), FIELD(umem_event_log, log_slots),                       \
        FIELD(umem_event_log, log_head),                                                           \
                                                                                                   \
        STRUCT(umem_contents), FIELD(umem_contents, con_log), FIELD(umem_contents, con_slots),     \
        FIELD(umem_contents, con_slot_size), STRUCT(umem_contents_slot),                           \
        FIELD(umem_contents_slot, slot_busy), FIELD(umem_contents_slot, slot_size),                \
        FIELD(umem_contents_slot, slot_ticket), FIELD(umem_contents_slot, slot_addr),              \
        ARRAY(umem_contents_slot, slot_bytes),                                                     \
                                                                                                   \
        STRUCT(umem_options), FIELD(umem_options, opt_flags),                                      \
        FIELD(umem_options, opt_audit_frames), FIELD(umem_options, opt_contents_bytes),            \
        FIELD(umem_options, opt_reap_interval_s), FIELD(umem_options, opt_nomagazines),            \
        FIELD(umem_options, opt_transaction_log), FIELD(umem_options, opt_fail_log),               \
        FIELD(umem_options, opt_slab_log), FIELD(umem_options, opt_sample),                        \
        FIELD(umem_options, opt_firewall), FIELD(umem_options, opt_firewall_below),                \
                                                                                                   \
        CONSTANT(UMEM_GRANULE_SHIFT), CONSTANT(UMEM_PAGEMAP_ROOT_BITS),                            \
        CONSTANT(UMEM_PAGEMAP_LEAF_BITS), CONSTANT(UMEM_PAGEMAP_POINTER_MASK),                     \
        CONSTANT(UMEM_PAGEMAP_SLAB), CONSTANT(UMEM_PAGEMAP_LARGE),                                 \
        CONSTANT(UMEM_STACKS_SEGMENT_SHIFT), CONSTANT(UMEM_STACKS_SEGMENTS),                       \
        CONSTANT(UMEM_STATE_READY), CONSTANT(UMF_AUDIT), CONSTANT(UMF_DEADBEEF),                   \
        CONSTANT(UMF_REDZONE), CONSTANT(UMF_CONTENTS), CONSTANT(UMF_STATE),                        \
        CONSTANT(UMEM_FREE_PATTERN), CONSTANT(UMEM_REDZONE_PATTERN), CONSTANT(UMEM_SLACK_WORD),    \
        CONSTANT(UMEM_SIZE_PRIME), CONSTANT(UMEM_BUFTAG_ALLOCATED), CONSTANT(UMEM_BUFTAG_FREE),    \
        CONSTANT(UMEM_BUFFER_RAW), CONSTANT(UMEM_BUFFER_ALLOCATED), CONSTANT(UMEM_BUFFER_FREE),    \
        CONSTANT(VMEM_SEG_ALLOC), CONSTANT(VMEM_SEG_FREE), CONSTANT(VMEM_SEG_SPAN),                \
        CONSTANT(VMEM_SEG_HEAD), CONSTANT(UMEM_EVENT_KIND_BITS), CONSTANT(UMEM_EVENT_ALLOC),       \
        CONSTANT(UMEM_EVENT_FREE), CONSTANT(UMEM_EVENT_RESIZE), CONSTANT(UMEM_EVENT_FAIL),         \
        CONSTANT(UMEM_EVENT_SLAB_MADE), CONSTANT(UMEM_EVENT_SLAB_DESTROYED),                       \
        CONSTANT(UMEM_EVENT_BUSY),                                                                 \
                                                                                                   \
        ADDRESS(umem_state), ADDRESS(umem_caches), ADDRESS(umem_tcaches), ADDRESS(umem_larges),    \
        ADDRESS(umem_firewalls), ADDRESS(vmem_arenas), ADDRESS(umem_meta_chunks),                  \
        ADDRESS(umem_stacks_segment), ADDRESS(umem_pagemap_root), ADDRESS(umem_ring),              \
        ADDRESS(umem_options), ADDRESS(umem_transaction_log), ADDRESS(umem_fail_log),              \
        ADDRESS(umem_slab_log), ADDRESS(umem_contents)

#define ENTRY_COUNT                                                                                \
    (sizeof((struct umem_layout_entry[]){ENTRIES}) / sizeof(struct umem_layout_entry))

UMEM_EXPORT struct umem_layout_block umem_layout = {
    .layout_magic = UMEM_LAYOUT_MAGIC,
    .layout_version = UMEM_LAYOUT_VERSION,
    .layout_pointer_size = sizeof(void *),
    .layout_entry_size = sizeof(struct umem_layout_entry),
    .layout_entry_count = ENTRY_COUNT,
    .layout_entry = {ENTRIES},
};
