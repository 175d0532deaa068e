/* SPDX-License-Identifier: MIT */
/*
 * reserve.h - the reserve of a sealed cache: two lock-free stacks of nodes.
 *
 * A full node holds a free object, a spare node holds none.  Alloc takes a full
 * node, its object, and makes the node a spare one; free does the reverse.
 * There is a node for each object that the cache has, so that each finds one.
 * After Treiber, "Systems Programming: Coping with Parallelism" (IBM RJ 5118,
 * 1986); a count in the stack's word tells a node that left and came back
 * meanwhile (ABA).
 *
 * A node belongs to a stack or to the thread that took it off one.  node_obj
 * is set as long as the object is free, so the objects of a reserve can be
 * read, from a core too, without following either stack.
 */
#ifndef UMEM_RESERVE_H
#define UMEM_RESERVE_H

#include "base/base.h"

struct reserve_node {
    _Atomic uint32_t node_next; /* number of the next in its stack, 0: none */
    void *node_obj;             /* the free object, or NULL */
};

struct reserve {
    /* Number of the top node, 0 none, under a count of 32 bits; nodes count from 1. */
    _Alignas(UMEM_CACHE_LINE) _Atomic uint64_t res_full;
    _Alignas(UMEM_CACHE_LINE) _Atomic uint64_t res_spare;
    _Alignas(UMEM_CACHE_LINE) uint32_t res_nodes;
    size_t res_size; /* bytes of this record */
    struct reserve_node res_node[];
};

/* A reserve of nodes spare ones, every page of it faulted in.  NULL with errno. */
struct reserve *reserve_create(size_t nodes);
void reserve_destroy(struct reserve *r);
/* NULL: it is empty. */
void *reserve_take(struct reserve *r);
/* False: there is no spare node. */
bool reserve_put(struct reserve *r, void *obj);
/* Every node is on one stack, full ones with an object: for a reserve that nobody uses just now. */
bool reserve_verify(const struct reserve *r);

#endif
