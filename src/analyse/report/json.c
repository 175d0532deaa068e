/* SPDX-License-Identifier: MIT */
/*
 * json.c - see json.h.
 */
#include "report/json.h"

#include <inttypes.h>
#include <stdio.h>

#include "report/block_report.h"

/* Digits of a real number: milliseconds of an age in years. */
#define REAL_DIGITS 12

json_t *
json_hex(uint64_t value)
{
    char hex[24];
    snprintf(hex, sizeof(hex), "0x%" PRIx64, value);
    return json_string(hex);
}

void
json_set_hex(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_hex(value));
}

void
json_set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void
json_set_text(json_t *object, const char *key, const char *text)
{
    json_t *value = json_string(text);
    json_object_set_new(object, key, value != NULL ? value : json_null());
}

json_t *
json_amount(uint64_t buffers, uint64_t bytes)
{
    json_t *amount = json_object();
    json_set_count(amount, "buffers", buffers);
    json_set_count(amount, "bytes", bytes);
    return amount;
}

json_t *
json_begin(const struct heap *h)
{
    json_t *out = json_object();
    json_set_text(out, "target", target_name(h->heap_target));
    json_set_text(out, "allocator", h->heap_allocator == HEAP_GLIBC ? "glibc" : "umem");
    json_object_set_new(out, "complete", json_boolean(heap_is_complete(h)));
    if (!heap_is_complete(h))
        json_object_set_new(out, "incomplete", incomplete_json(h));
    return out;
}

void
json_finish(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(REAL_DIGITS));
    putchar('\n');
    json_decref(value);
}
