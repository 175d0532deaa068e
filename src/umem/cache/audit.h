/* SPDX-License-Identifier: MIT */
/*
 * audit.h - what the caches ask of audit at run time, umem_audit_start() and
 * its sisters (<umem.h>).  See twin.h for how a cache is audited.
 */
#ifndef UMEM_CACHE_AUDIT_H
#define UMEM_CACHE_AUDIT_H

#include "cache/cache.h"

/* Whether an allocation of so many bytes is to be recorded, whatever its thread. */
bool umem_audit_wants(size_t requested);
/* UMF_* that an oversize block gets beside those of the options. */
uint32_t umem_audit_large_flags(size_t requested);
/* A cache has been created: audited from the start, if it is one of those. */
void umem_audit_adopt(struct umem_cache *cp);
/* Opens windows that need not be closed any more; reap_lock is held. */
void umem_audit_settle(struct umem_cache *cp);

void umem_audit_fork_prepare(void);
void umem_audit_fork_parent(void);
void umem_audit_fork_child(void);

#endif
