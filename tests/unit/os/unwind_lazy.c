/* SPDX-License-Identifier: MIT */
/*
 * unwind_lazy.c - a shared object whose calls are bound when they are first
 * made, without symbols but those that it exports.  Built twice: with the plain
 * linkage table, and with the one for processors that check branch targets.
 */
#include <stdlib.h>
#include <string.h>

long lazy_work(const char *text);
int lazy_chosen(void (*fn)(void));
int chosen(int n);

/* Calls into libc, each through an entry of its own that is not bound yet; and once more. */
__attribute__((visibility("default"), noinline)) long
lazy_work(const char *text)
{
    long sum = 0;

    for (volatile int i = 0; i < 2; i++) {
        sum += labs(atol(text)) + (long)strcspn(text, "9");
        sum += strcasecmp(text, "some");
    }
    return sum;
}

static void (*within)(void);

static int
twice(int n)
{
    return 2 * n;
}

/* Runs within the loader, which was asked for the address of chosen(). */
static int (*choose(void))(int)
{
    if (within != NULL)
        within();
    return twice;
}

__attribute__((visibility("default"), ifunc("choose"))) int chosen(int n);

__attribute__((visibility("default"), noinline)) int
lazy_chosen(void (*fn)(void))
{
    within = fn;
    volatile int result = chosen(21); /* not by a jump */
    return result;
}
