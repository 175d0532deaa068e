/* SPDX-License-Identifier: MIT */
/*
 * frontends.h - what the parts of the frontends benchmark share: the back end's
 * calls, and what a front end is.  main.c says what is measured.
 */
#ifndef FRONTENDS_H
#define FRONTENDS_H

/* Restartable sequences: written for one instruction set, registered by glibc >= 2.35. */
#if defined(__x86_64__) && __has_include(<sys/rseq.h>)
#define FRONTENDS_SUPPORTED
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OBJECT_SIZE 256 /* as in pairs.c */
#define ROUNDS 126      /* 1 KiB with the two words of header */
#define MAGAZINE_SIZE 1024
#define THREADS_MAX 1000
#define LIKELY(x) __builtin_expect(!!(x), 1)

struct object {
    struct object *obj_next;  /* while loose */
    _Atomic uint64_t obj_tag; /* "check": who has it, 0 while free */
    char obj_rest[OBJECT_SIZE - 16];
};

struct magazine {
    struct magazine *mag_next; /* in the depot */
    size_t mag_rounds;         /* per thread, outside the window: 0 or ROUNDS */
    void *mag_round[ROUNDS];
};
_Static_assert(sizeof(struct magazine) == MAGAZINE_SIZE, "the address tells the rounds");

_Noreturn void die(const char *what);

void back_init(void);
/* A full magazine for mag, an empty one or NULL.  NULL: there is none, and mag is not taken. */
struct magazine *back_get_full(struct magazine *mag);
/* An empty magazine for mag, a full one or NULL. */
struct magazine *back_get_empty(struct magazine *mag);
void back_put(struct magazine *mag, bool full);
/* A single object, where there are no full magazines. */
void *back_object(void);
/* Takes the rounds of a magazine that is neither full nor empty. */
void back_loose(void **rounds, size_t n);
/* Objects in use, as far as the back end knows: those in windows count. */
size_t back_outside(void);

struct front {
    char name;
    void *(*alloc)(void);
    void (*free)(void *);
    void (*begin)(size_t);  /* by each thread, with its number, before it allocates */
    void (*end)(void);      /* by each thread, when it ends */
    size_t (*cached)(void); /* rounds in loaded and previous magazines, while all stand still */
};
extern const struct front per_thread, per_cpu;

/* False, with a line on standard output: threads have no restartable sequences. */
bool per_cpu_available(void);
/* Lets one single thread go on without: nothing interrupts it under valgrind. */
void per_cpu_pretend(void);
/* Sequences that were aborted in threads that ended. */
uint64_t per_cpu_aborts(void);

#endif
