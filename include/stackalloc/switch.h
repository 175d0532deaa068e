/* SPDX-License-Identifier: MIT */
/*
 * switch.h - what AddressSanitizer has to be told by who switches from one
 * stack to another.  Else it takes the bounds of the thread's stack for those of the one
 * that it is on, and frames that longjmp() or an exception leaves stay noted.
 *
 *     struct stack_switch here;
 *     stack_switch_begin(&here, other_stack, other_size);
 *     swapcontext(&from, &to);
 *     stack_switch_end(&here, NULL, NULL);
 *
 * Each side does so round its switch: begin before it leaves, end when it is
 * there again.  What runs first on a new stack begins with
 * stack_switch_end(NULL, ...), and leaves for good after
 * stack_switch_begin(NULL, ...).  The stack to go to is what stack_alloc()
 * returned and its size.
 *
 * Header only.  Where no sanitizer is in the process, each call is a test of a
 * constant and no more.
 */
#ifndef STACKALLOC_SWITCH_H
#define STACKALLOC_SWITCH_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The sanitizer's, if it is there: <sanitizer/common_interface_defs.h>. */
extern void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size)
    __attribute__((weak));
extern void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom_old,
                                            size_t *size_old) __attribute__((weak));

/* What a stack that was left has to keep until it is there again. */
struct stack_switch {
    void *switch_fake; /* the sanitizer's frames that outlive their functions */
};

/* Before a switch to the stack at address; from is NULL where this one is left for good. */
static inline void
stack_switch_begin(struct stack_switch *from, const void *address, size_t size)
{
    if (__sanitizer_start_switch_fiber != NULL)
        __sanitizer_start_switch_fiber(from != NULL ? &from->switch_fake : NULL, address, size);
}

/*
 * After a switch, by who is there again, or for the first time, where from is
 * NULL.  left_address and left_size, each of which may be NULL, are told which
 * stack was left: how a fiber learns of the stack of the thread that entered it.
 * They are unchanged without a sanitizer.
 */
static inline void
stack_switch_end(const struct stack_switch *from, const void **left_address, size_t *left_size)
{
    if (__sanitizer_finish_switch_fiber != NULL)
        __sanitizer_finish_switch_fiber(from != NULL ? from->switch_fake : NULL, left_address,
                                        left_size);
}

#ifdef __cplusplus
}
#endif
#endif
