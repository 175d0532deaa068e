/* SPDX-License-Identifier: MIT */
/*
 * wire.c - see wire.h.
 */
#include "report/wire.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 4096
/* The low bits of a field's key. */
#define WIRE_VARINT 0
#define WIRE_SIZED 2
#define WIRE_TYPE_BITS 3

static void
put(struct wire *w, const void *data, size_t size)
{
    size_t room = w->wire_room == 0 ? ROOM_FIRST : w->wire_room;
    while (room - w->wire_size < size)
        room *= 2;
    if (room != w->wire_room) {
        unsigned char *grown = realloc(w->wire_data, room);
        if (grown == NULL) {
            w->wire_failed = true;
            return;
        }
        w->wire_data = grown;
        w->wire_room = room;
    }
    if (size > 0)
        memcpy(w->wire_data + w->wire_size, data, size);
    w->wire_size += size;
}

/* Seven bits a byte, the lowest first; the top bit says that more follow. */
void
wire_packed(struct wire *w, uint64_t value)
{
    unsigned char bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (unsigned char)(value | 0x80);
    bytes[n++] = (unsigned char)value;
    put(w, bytes, n);
}

void
wire_number(struct wire *w, unsigned field, uint64_t value)
{
    if (value == 0)
        return;
    wire_packed(w, (uint64_t)field << WIRE_TYPE_BITS | WIRE_VARINT);
    wire_packed(w, value);
}

void
wire_bytes(struct wire *w, unsigned field, const void *data, size_t size)
{
    wire_packed(w, (uint64_t)field << WIRE_TYPE_BITS | WIRE_SIZED);
    wire_packed(w, size);
    put(w, data, size);
}

void
wire_text(struct wire *w, unsigned field, const char *text)
{
    wire_bytes(w, field, text, strlen(text));
}

void
wire_message(struct wire *w, unsigned field, struct wire *part)
{
    wire_bytes(w, field, part->wire_data, part->wire_size);
    w->wire_failed = w->wire_failed || part->wire_failed;
    part->wire_size = 0;
}

void
wire_fini(struct wire *w)
{
    free(w->wire_data);
    *w = (struct wire){0};
}
