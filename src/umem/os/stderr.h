/* SPDX-License-Identifier: MIT */
/*
 * stderr.h - text to standard error from anywhere in the engine: a write that
 * can neither kill the process nor be seen by it.
 */
#ifndef UMEM_STDERR_H
#define UMEM_STDERR_H

#include "base/base.h"

/*
 * Writes text to standard error as far as that goes: a closed, full or broken
 * one is ignored, raises no SIGPIPE, and the call is no cancellation point.
 * Keeps errno. (AS)
 */
void os_stderr(const char *text, size_t size);

#endif
