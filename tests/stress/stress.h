/* SPDX-License-Identifier: MIT */
/*
 * stress.h - stress programs: many threads that allocate, hand blocks to each
 * other, resize and free, with every block stamped by its maker and looked at
 * whenever it is touched again.
 *
 * stress.c owns queues and stamps, storms.c and crowd.c other uses of threads; a program adds the
 * allocator that is driven, as a table of functions (struct stress_ops).  Nothing here cares whose
 * malloc the process has: tables are static or mapped.
 */
#ifndef STRESS_H
#define STRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* One block, as the thread that holds it knows it. */
struct block {
    unsigned char *ptr; /* NULL: none */
    size_t size;
    uint64_t tag;  /* what it is stamped with: its maker and a number */
    unsigned kind; /* the allocator's: how it was made */
};

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *r);
/* Uniform enough in [0, limit). */
uint64_t rng_below(struct rng *r, uint64_t limit);
/* A size as programs ask for: mostly small, now and then above the classes. */
size_t rng_size(struct rng *r);

struct stress_ops {
    const char *name;
    /* Before threads exist; false fails the program. */
    bool (*set_up)(void);
    /* Fills in ptr, size and kind; false: no memory. */
    bool (*make)(struct block *b, struct rng *r);
    /* Another size, contents kept as realloc does; NULL where there is no such thing. */
    bool (*resize)(struct block *b, size_t size);
    /* Called on a block whose stamp has been checked. */
    void (*drop)(struct block *b);
    /* Now and then, from the main thread: reap, trim. */
    void (*tend)(void);
    /* After all blocks are dropped. */
    void (*tear_down)(void);
};

/* Writes the tag's pattern over the block. */
void stamp_write(const struct block *b);
/* Looks whether `size` bytes of the block's pattern are there; dies where not. */
void stamp_check(const struct block *b, size_t size, const char *when);
/* Says what is wrong and aborts. */
_Noreturn void stress_fail(const struct block *b, const char *what, size_t offset);

/* The number of threads of the main program's, a seed, the seconds: from argv. */
struct stress_arguments {
    unsigned seconds;
    unsigned threads;
    uint64_t seed;
};

/*
 * PROGRAM [SECONDS [THREADS [SEED]]]; the environment's UMEM_STRESS_SECONDS
 * beats the first.
 */
struct stress_arguments stress_arguments(int argc, char **argv, unsigned seconds);

/* The mix of everything: threads that come and go, queues between them. */
int stress_mix(const struct stress_ops *ops, int argc, char **argv);
/* Forks in a storm of threads; the children drop what they inherit, use the heap and end. */
int stress_fork(const struct stress_ops *ops, int argc, char **argv);
/* Waves of threads that allocate and end; the resident size must level off. */
int stress_threads(const struct stress_ops *ops, int argc, char **argv);

/* A thousand threads alive, of which most sleep most of the time. */
int stress_crowd(const struct stress_ops *ops, int argc, char **argv);
/* Threads that live for a few blocks; the resident size must level off. */
int stress_lives(const struct stress_ops *ops, int argc, char **argv);

/* For how long modes go on that have done their number: UMEM_STRESS_SECONDS, or 0. */
time_t stress_more_seconds(void);
/* Resident size of the process, -1 where it cannot be read. */
long stress_resident_kb(void);
/* Says what was done and whether the size is about what it was when warm: 0 if so. */
int stress_levelled_off(const char *name, const char *what, unsigned count, long warm);

/* What the programs run: `PROGRAM mix|fork|threads|crowd|lives ...`. */
int stress_main(const struct stress_ops *ops, int argc, char **argv);

#endif
