/* SPDX-License-Identifier: MIT */
/*
 * Memory that nobody uses.  `idle threads N`: N threads allocate and free a few
 * blocks of several sizes, then sleep; says "idle", and ends with its input.
 * `idle peak SECONDS`: beside 16 MB that stay, 256 MB of mixed sizes are freed;
 * then a few malloc and free a second, until the resident size is little more
 * than what is live.  Prints how long that took, or fails with what is resident.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STACK = 256 << 10, PAGE = 4096 };

/* --- Threads --- */

static pthread_barrier_t all_idle;

static void *
use_and_sleep(void *arg)
{
    static const size_t sizes[] = {16, 48, 100, 250, 1000, 3000};
    enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), EACH = 4 };
    void *p[SIZES][EACH];
    for (size_t s = 0; s < SIZES; s++)
        for (size_t i = 0; i < EACH; i++)
            if ((p[s][i] = malloc(sizes[s])) != NULL)
                memset(p[s][i], 1, sizes[s]);
    for (size_t s = 0; s < SIZES; s++)
        for (size_t i = 0; i < EACH; i++)
            free(p[s][i]);
    pthread_barrier_wait(&all_idle);
    pause();
    return arg;
}

static int
idle_threads(unsigned n)
{
    pthread_attr_t attr;
    pthread_t t;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    pthread_barrier_init(&all_idle, NULL, n + 1);
    for (unsigned i = 0; i < n; i++)
        if (pthread_create(&t, &attr, use_and_sleep, NULL) != 0)
            return 77;
    pthread_barrier_wait(&all_idle);
    (void)write(1, "idle\n", 5); /* stdio would allocate */
    char c;
    while (read(0, &c, 1) > 0)
        ;
    _exit(0);
}

/* --- After a peak --- */

static const size_t peak_bytes = 256 << 20, live_bytes = 16 << 20, allowance = 8 << 20;
static uint64_t state = 7;

static uint64_t
next(void)
{
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return state >> 33;
}

/* Mostly small, as programs are, with large ones that hold much of the bytes. */
static size_t
mixed_size(void)
{
    uint64_t what = next() % 1000;
    return 16 + (size_t)(what < 900   ? next() % 1000
                         : what < 990 ? next() % 16000
                         : what < 999 ? next() % 130000
                                      : next() % 2000000);
}

static void **
allocate(size_t bytes)
{
    void **first = NULL;
    for (size_t sum = 0; sum < bytes;) {
        size_t size = mixed_size();
        void **p = malloc(size);
        if (p == NULL)
            exit(1);
        memset(p, 1, size);
        *p = first;
        first = p;
        sum += size;
    }
    return first;
}

static size_t
resident(void)
{
    char text[128] = "";
    unsigned long pages = 0, total = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL && fgets(text, sizeof(text), f) != NULL)
        sscanf(text, "%lu %lu", &total, &pages);
    if (f != NULL)
        fclose(f);
    return pages * PAGE;
}

static int
after_peak(unsigned seconds)
{
    static const struct timespec tick = {.tv_nsec = 200 * 1000 * 1000};
    void **live = allocate(live_bytes), **peak = allocate(peak_bytes);
    size_t top = resident(), now = top;
    while (peak != NULL) {
        void **p = peak;
        peak = *p;
        free(p);
    }
    unsigned tick_count = seconds * 5;
    for (unsigned i = 0; i <= tick_count; i++) {
        now = resident(); /* stdio's malloc and free are some of the trickle */
        if (now < live_bytes + live_bytes / 10 + allowance) {
            printf("%zu KB at the top, %zu KB after %u.%u s\n", top >> 10, now >> 10, i / 5,
                   i % 5 * 2);
            return live == NULL;
        }
        nanosleep(&tick, NULL);
        free(malloc(mixed_size()));
    }
    fprintf(stderr, "%zu KB at the top, %zu KB are resident after %u s, %zu KB are live\n",
            top >> 10, now >> 10, seconds, live_bytes >> 10);
    return 1;
}

int
main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    unsigned n = (unsigned)strtoul(argv[2], NULL, 10);
    return strcmp(argv[1], "threads") == 0 ? idle_threads(n) : after_peak(n);
}
