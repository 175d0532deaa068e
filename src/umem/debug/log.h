/* SPDX-License-Identifier: MIT */
/*
 * log.h - who may write to the message ring and to standard error: one thread
 * at a time, from the first line of a report to its last.
 *
 * The log is owned by a thread's kernel id, not held like a lock, so that a
 * thread that crashes within its own report, or is interrupted in it by a
 * signal whose handler reports too, finds itself the owner and does not wait
 * for ever.  Rank UMEM_RANK_LOG: the last of all; its owner takes no lock.
 */
#ifndef UMEM_LOG_H
#define UMEM_LOG_H

#include "base/base.h"

/* Waits for the log.  False: this thread has it already, and must not leave it. (AS) */
bool umem_log_enter(void);
void umem_log_leave(void);
/* Text to the ring, and to standard error where wanted; for the log's owner. (AS) */
void umem_log_text(const char *text, size_t size, bool to_stderr);

/* The kernel's id of this thread, asked for once a thread. (AS) */
extern UMEM_TLS uint32_t umem_thread_known __attribute__((visibility("hidden"))); /* 0: not yet */
uint32_t umem_thread_ask(void);
static inline uint32_t
umem_thread_self(void)
{
    uint32_t known = umem_thread_known;

    return UMEM_LIKELY(known != 0) ? known : umem_thread_ask();
}

#endif
