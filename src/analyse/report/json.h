/* SPDX-License-Identifier: MIT */
/*
 * json.h - what the JSON of all verbs has in common: addresses as "0x...",
 * counts, the keys that tell of the target, and how it is printed.
 */
#ifndef ANALYSE_REPORT_JSON_H
#define ANALYSE_REPORT_JSON_H

#include <jansson.h>

#include "heap/heap.h"

json_t *json_hex(uint64_t value);
void json_set_hex(json_t *object, const char *key, uint64_t value);
void json_set_count(json_t *object, const char *key, uint64_t value);
/* {"buffers", "bytes"} */
json_t *json_amount(uint64_t buffers, uint64_t bytes);
/* A name of the target's; one that is no UTF-8 is null. */
void json_set_text(json_t *object, const char *key, const char *text);
/* An object with "target", "complete" and, where there are any, the reasons why it is not. */
json_t *json_begin(const struct heap *h);
/* Prints the value, and a newline, and releases it. */
void json_finish(json_t *value);

#endif
