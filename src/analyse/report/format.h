/* SPDX-License-Identifier: MIT */
/*
 * format.h - numbers, ages and bytes as people read them, and the few text
 * attributes that a terminal gets.
 */
#ifndef ANALYSE_REPORT_FORMAT_H
#define ANALYSE_REPORT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORMAT_SIZE 48 /* of the longest text below */
struct text {
    char s[FORMAT_SIZE];
};

/* 1234567 -> "1,234,567". */
struct text format_count(uint64_t n);
/* 1 -> "1 buffer", 1200 -> "1,200 buffers". */
struct text format_plural(uint64_t n, const char *one, const char *many);
/* 1234567 -> "1.2M": at most four digits and a unit of 1024. */
struct text format_size(uint64_t bytes);
/* "18.8 %" of a whole; "0.1 %" at least where the part is not 0. */
struct text format_percent(uint64_t part, uint64_t whole);
/* Nanoseconds as "350 ms", "12 s", "3 min 20 s", "2 h 5 min", "4 d 3 h". */
struct text format_age(uint64_t ns);
double format_seconds(uint64_t ns);

/* Escape sequences, or "" without colour. */
const char *style_bold(bool color);
const char *style_dim(bool color);
const char *style_alert(bool color);
const char *style_end(bool color);

#endif
