/* SPDX-License-Identifier: MIT */
/*
 * bufctl.h - what a bufctl says, whether it is the record beside a buffer or
 * one of the transaction log.
 */
#ifndef ANALYSE_SHELL_BUFCTL_H
#define ANALYSE_SHELL_BUFCTL_H

#include "shell/shell.h"

struct bufctl {
    addr_t bc_addr; /* of the record */
    addr_t bc_buffer;
    addr_t bc_cache;   /* 0: none */
    bool bc_audited;   /* what follows is known */
    bool bc_is_event;  /* of the log */
    bool bc_allocated; /* by the last transaction */
    uint64_t bc_time;
    uint32_t bc_thread;
    uint32_t bc_stack;
    uint64_t bc_prev_time; /* 0: none */
    uint32_t bc_prev_thread;
    uint32_t bc_prev_stack;
};

/* Reads the record at addr; false after shell_error(). */
bool shell_bufctl(struct shell *sh, addr_t addr, struct bufctl *bc);
/* The record of a buffer that addr points into, and that buffer; 0: into none. */
addr_t shell_bufctl_around(struct shell *sh, addr_t addr, addr_t *buffer);
/* The transaction log, read once. */
const struct event_list *shell_transactions(struct shell *sh);
/* Whether a stack has a frame at this address, or in the function that begins there. */
bool shell_stack_has(struct shell *sh, uint32_t stack, addr_t caller);

#endif
