/* SPDX-License-Identifier: MIT */
/*
 * intern.c - see intern.h.
 */
#include "report/intern.h"

#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"

#define SLOTS_FIRST 1024
#define BYTES_FIRST 4096
/* FNV-1a, 64 bits: good enough for names, and four lines. */
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static uint64_t
hash_of(const unsigned char *bytes, size_t size)
{
    uint64_t hash = FNV_BASIS;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * FNV_PRIME;
    return hash ^ hash >> 32;
}

/* The slot that holds the key, or the free one where it belongs. */
static uint32_t *
find_slot(const struct intern *t, const void *key, size_t size)
{
    size_t mask = t->int_slot_count - 1;
    size_t i = (size_t)hash_of(key, size) & mask;
    for (; t->int_slots[i] != 0; i = (i + 1) & mask) {
        const struct intern_key *k = &t->int_keys[t->int_slots[i] - 1];
        if (k->key_size == size && memcmp(t->int_bytes + k->key_offset, key, size) == 0)
            break;
    }
    return &t->int_slots[i];
}

/* Twice as many slots as keys at least. */
static bool
grow_slots(struct intern *t)
{
    if (2 * (t->int_count + 1) <= t->int_slot_count)
        return true;
    size_t count = t->int_slot_count == 0 ? SLOTS_FIRST : 2 * t->int_slot_count;
    uint32_t *slots = memory_zeroed(count, sizeof(*slots));
    if (slots == NULL)
        return false;
    free(t->int_slots);
    t->int_slots = slots;
    t->int_slot_count = count;
    for (size_t i = 0; i < t->int_count; i++) {
        const struct intern_key *k = &t->int_keys[i];
        *find_slot(t, t->int_bytes + k->key_offset, k->key_size) = (uint32_t)i + 1;
    }
    return true;
}

static bool
keep_bytes(struct intern *t, const void *key, size_t size)
{
    size_t room = t->int_bytes_room == 0 ? BYTES_FIRST : t->int_bytes_room;
    while (room - t->int_size < size + 1)
        room *= 2;
    if (room != t->int_bytes_room) {
        unsigned char *bytes = realloc(t->int_bytes, room);
        if (bytes == NULL)
            return false;
        t->int_bytes = bytes;
        t->int_bytes_room = room;
    }
    memcpy(t->int_bytes + t->int_size, key, size);
    t->int_bytes[t->int_size + size] = '\0'; /* texts can be used as such */
    return true;
}

uint32_t
intern_add(struct intern *t, const void *key, size_t size, bool *added)
{
    if (added != NULL)
        *added = false;
    if (!grow_slots(t)) {
        t->int_failed = true;
        return 0;
    }
    uint32_t *slot = find_slot(t, key, size);
    if (*slot != 0)
        return *slot - 1;
    if (t->int_count >= UINT32_MAX - 1 ||
        !memory_grow(&t->int_keys, &t->int_room, t->int_count, sizeof(*t->int_keys)) ||
        !keep_bytes(t, key, size)) {
        t->int_failed = true;
        return 0;
    }
    t->int_keys[t->int_count] = (struct intern_key){t->int_size, size};
    t->int_size += size + 1;
    *slot = (uint32_t)++t->int_count;
    if (added != NULL)
        *added = true;
    return *slot - 1;
}

uint32_t
intern_text(struct intern *t, const char *text)
{
    return intern_add(t, text, strlen(text), NULL);
}

const void *
intern_key(const struct intern *t, uint32_t number, size_t *size)
{
    const struct intern_key *k = &t->int_keys[number];
    if (size != NULL)
        *size = k->key_size;
    return t->int_bytes + k->key_offset;
}

void
intern_fini(struct intern *t)
{
    free(t->int_keys);
    free(t->int_bytes);
    free(t->int_slots);
    *t = (struct intern){0};
}
