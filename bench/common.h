/* SPDX-License-Identifier: MIT */
/*
 * common.h - what the benchmark's programs share: clock, random numbers, sizes,
 * resident memory.  Plain malloc programs: the allocator comes by LD_PRELOAD.
 * Each prints lines "name value", which bench/benchlib/runner.py reads.
 * Nothing here allocates.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000u
#define NS_PER_MS 1000000u
#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)

/* Any odd number does as the seed of xorshift64; threads add their own number. */
#define SEED 88172645463325252u

static inline uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline void
sleep_ns(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        continue;
}

/* A stack between two guards, each page touched; aborts where there is no memory. */
static inline void *
map_stack(size_t size)
{
    char *all =
        mmap(NULL, size + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, PAGE, PROT_NONE) != 0 ||
        mprotect(all + PAGE + size, PAGE, PROT_NONE) != 0)
        abort();
    for (size_t i = 0; i < size; i += PAGE)
        *(volatile char *)(all + PAGE + i) = 0;
    return all + PAGE;
}

/* xorshift64: cheap beside an allocation. */
static inline uint64_t
next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* 0 to n - 1, n below 2^32; multiply and shift instead of a division. */
static inline size_t
random_below(uint64_t *state, size_t n)
{
    return (size_t)(((next_random(state) >> 32) * n) >> 32);
}

/* A size from 2^low to 2^high - 1, every doubling as likely as every other. */
static inline size_t
random_size(uint64_t *state, unsigned low, unsigned high)
{
    size_t base = (size_t)1 << (low + random_below(state, high - low));
    return base + random_below(state, base);
}

/* A block with its first byte written, as a program would. */
static inline void *
must_malloc(size_t size)
{
    char *block = malloc(size);
    if (block == NULL)
        abort();
    *(volatile char *)block = 1;
    return block;
}

/* The benchmark's own arrays: mappings, so that they are no part of the heap. */
static inline void *
must_map(size_t size)
{
    void *p =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

/* Resident bytes, by plain calls: stdio would ask the heap that is measured. */
static inline size_t
resident_bytes(void)
{
    char text[128]; /* seven numbers */
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (n <= 0)
        abort();
    close(fd);
    text[n] = '\0';
    const char *second = strchr(text, ' ');
    return second != NULL ? (size_t)strtoull(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

#endif
