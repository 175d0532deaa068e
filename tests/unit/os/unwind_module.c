/* SPDX-License-Identifier: MIT */
/*
 * unwind_module.c - a shared object that is loaded, called through and
 * unloaded by test_unwind.c.  Built twice with frames of different size but
 * instructions of the same length, so that the same return addresses have
 * different rules; but for extra(), whose return address differs: by it the
 * unwinder can know that the object is another one.
 */
void module_call(void (*fn)(void));
void module_quiet(void (*fn)(void));

static void extra(void (*fn)(void));

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
    extra(fn);
    inner(fn);
    frame[2 * FRAME_SIZE - 1] = frame[0];
}

/* Not a return address tells. */
__attribute__((visibility("default"))) void
module_quiet(void (*fn)(void))
{
    volatile char frame[2 * FRAME_SIZE];

    frame[0] = 1;
    inner(fn);
    frame[2 * FRAME_SIZE - 1] = frame[0];
}

static __attribute__((noinline)) void
extra(void (*fn)(void))
{
    volatile char frame[FRAME_SIZE];

    __asm__ volatile(".fill %c0, 1, 0x90" : : "i"(FRAME_SIZE / 8));
    frame[0] = 1;
    fn();
    frame[FRAME_SIZE - 1] = frame[0];
}
