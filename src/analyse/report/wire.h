/* SPDX-License-Identifier: MIT */
/*
 * wire.h - writes protocol buffers: numbers, bytes and messages in messages.
 *
 * The whole of the encoding that a profile needs is these few functions, so
 * there is no generator among what the build needs, and no tree of messages in
 * memory before the first byte is written.
 */
#ifndef ANALYSE_REPORT_WIRE_H
#define ANALYSE_REPORT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire { /* zeroed: empty */
    unsigned char *wire_data;
    size_t wire_size;
    size_t wire_room;
    bool wire_failed; /* no memory */
};

/* A field of 0 is left out, as readers take what is absent for 0. */
void wire_number(struct wire *w, unsigned field, uint64_t value);
void wire_bytes(struct wire *w, unsigned field, const void *data, size_t size);
void wire_text(struct wire *w, unsigned field, const char *text);
/* part becomes a field of w, and is empty again. */
void wire_message(struct wire *w, unsigned field, struct wire *part);
/* One number of a repeated field: bytes of a packed one, to be put by wire_message(). */
void wire_packed(struct wire *w, uint64_t value);
void wire_fini(struct wire *w);

#endif
