/* SPDX-License-Identifier: MIT */
/*
 * unwind_shapes.c - functions of every shape of frame, compiled several times
 * with different options (SHAPES names the copy): what test_unwind.c captures
 * from, and steps through.
 */
#include "unwind_shapes.h"

#include <alloca.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

/* Keeps a call from becoming a jump. */
static inline void
after_call(void)
{
    __asm__ volatile("" ::: "memory");
}

static NOINLINE void
recurse(unsigned depth, void (*fn)(void))
{
    if (depth == 0)
        fn();
    else
        recurse(depth - 1, fn);
    after_call();
}

/* rbp is the CFA's register even without frame pointers. */
static NOINLINE void
variable_frame(size_t size, void (*fn)(void))
{
    volatile char *p = alloca(size);

    p[0] = p[size - 1] = 1;
    fn();
    after_call();
}

/* A realigned frame: with alloca in it the CFA is an expression. */
static NOINLINE void
aligned_frame(size_t size, void (*fn)(void))
{
    volatile char buf[128] __attribute__((aligned(64)));
    volatile char *p = alloca(size);

    buf[0] = p[0] = 1;
    fn();
    after_call();
    buf[1] = p[size - 1] = buf[0];
}

static NOINLINE void
big_frame(void (*fn)(void))
{
    volatile char buf[200000];

    buf[0] = 1;
    buf[sizeof(buf) - 1] = 1;
    fn();
    after_call();
}

/* Larger than a packed rule's offset can say. */
static NOINLINE void
huge_frame(void (*fn)(void))
{
    volatile char buf[1500000];

    buf[0] = 1;
    buf[sizeof(buf) - 1] = 1;
    fn();
    after_call();
}

/* Many live values: every callee-saved register is pushed. */
static NOINLINE long
busy_registers(long a, long b, long c, long d, long e, long f, long g, long h, void (*fn)(void))
{
    long i = a * b, j = c * d, k = e * f, l = g * h, m = a * h, n = b * g;

    fn();
    i += j * k;
    fn();
    l += m * n;
    fn();
    return i + j * 3 + k * 5 + l * 7 + m * 11 + n * 13 + a + b + c + d + e + f + g + h;
}

/* The address behind the call is behind the function. */
static NOINLINE __attribute__((noreturn)) void
never_returns(jmp_buf back, void (*fn)(void))
{
    fn();
    longjmp(back, 1);
}

static NOINLINE void
calls_noreturn(void (*fn)(void))
{
    jmp_buf back;

    if (setjmp(back) == 0)
        never_returns(back, fn);
    after_call();
}

static __thread void (*compare_fn)(void);

static int
compare(const void *a, const void *b)
{
    compare_fn();
    return *(const int *)a - *(const int *)b;
}

static NOINLINE void
through_libc(void (*fn)(void))
{
    int values[] = {5, 2, 9, 1, 7, 3};

    compare_fn = fn;
    qsort(values, sizeof(values) / sizeof(values[0]), sizeof(values[0]), compare);
    after_call();
}

/* Leaves for stepping: arithmetic, early returns, a switch, string functions. */
static NOINLINE long
leaf(long n)
{
    long sum = 0;

    if (n < 0)
        return -1;
    for (long i = 0; i < n; i++) {
        switch (i % 4) {
        case 0:
            sum += i * n;
            break;
        case 1:
            sum ^= i;
            break;
        case 2:
            if (sum > 1000)
                return sum;
            break;
        default:
            sum -= 3;
        }
    }
    return sum;
}

static NOINLINE long
not_quite_leaf(char *text, long n)
{
    char copy[64];

    if (n <= 0)
        return 0;
    memset(copy, 0, sizeof(copy));
    strncpy(copy, text, sizeof(copy) - 1);
    return leaf(n) + (long)strlen(copy) + not_quite_leaf(text, n - 1);
}

static void
nothing(void)
{
}

static void
call_all(void (*fn)(void))
{
    recurse(0, fn);
    recurse(7, fn);
    variable_frame(100, fn);
    variable_frame(9000, fn);
    aligned_frame(100, fn);
    aligned_frame(9000, fn);
    big_frame(fn);
    huge_frame(fn);
    busy_registers(1, 2, 3, 4, 5, 6, 7, 8, fn);
    calls_noreturn(fn);
    through_libc(fn);
    fn();
}

static void
run_leaves(void)
{
    char text[] = "some text to copy";

    leaf(20);
    not_quite_leaf(text, 4);
    variable_frame(300, nothing);
    busy_registers(1, 2, 3, 4, 5, 6, 7, 8, nothing);
    calls_noreturn(nothing);
    recurse(3, nothing);
    free(malloc(100));
}

/* Apart: in the prologue compilers' tables point to what is not written yet. */
static void
run_realigned(void)
{
    aligned_frame(300, nothing);
}

const struct shapes SHAPES = {recurse, call_all, run_leaves, run_realigned};
