/* SPDX-License-Identifier: MIT */
/*
 * unwind_module.c - a shared object that is loaded, called through and
 * unloaded by test_unwind.c.  Built twice with frames of different size, so
 * that the same addresses are return addresses with different rules.
 */
void module_call(void (*fn)(void));

static __attribute__((noinline)) void
inner(void (*fn)(void))
{
    volatile char frame[FRAME_SIZE];

    frame[0] = 1;
    fn();
    frame[FRAME_SIZE - 1] = frame[0];
}

__attribute__((visibility("default"))) void
module_call(void (*fn)(void))
{
    volatile char frame[2 * FRAME_SIZE];

    frame[0] = 1;
    inner(fn);
    frame[2 * FRAME_SIZE - 1] = frame[0];
}
