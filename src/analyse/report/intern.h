/* SPDX-License-Identifier: MIT */
/*
 * intern.h - numbers for byte strings: the first one added is 0, the next new
 * one 1, and one that is there already keeps its number.  What formats with
 * tables of strings, functions or addresses are written with.
 */
#ifndef ANALYSE_REPORT_INTERN_H
#define ANALYSE_REPORT_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct intern_key {
    size_t key_offset; /* in int_bytes */
    size_t key_size;
};

struct intern { /* zeroed: empty */
    struct intern_key *int_keys;
    size_t int_count;
    size_t int_room;
    unsigned char *int_bytes;
    size_t int_size;
    size_t int_bytes_room;
    uint32_t *int_slots; /* number + 1, 0 free; open addressing */
    size_t int_slot_count;
    bool int_failed; /* no memory: numbers are no longer to be relied on */
};

/* The number of key; *added tells whether it is new (may be NULL). */
uint32_t intern_add(struct intern *t, const void *key, size_t size, bool *added);
uint32_t intern_text(struct intern *t, const char *text);
const void *intern_key(const struct intern *t, uint32_t number, size_t *size);
void intern_fini(struct intern *t);

#endif
