/* SPDX-License-Identifier: MIT */
/*
 * format.c - see format.h.
 */
#include "report/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS ((uint64_t)1000000)
#define NS_PER_S ((uint64_t)1000000000)

struct text
format_count(uint64_t n)
{
    char digits[24];
    struct text out;
    size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n);
    size_t o = 0;

    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out.s[o++] = ',';
        out.s[o++] = digits[i];
    }
    out.s[o] = '\0';
    return out;
}

struct text
format_plural(uint64_t n, const char *one, const char *many)
{
    struct text out;
    snprintf(out.s, sizeof(out.s), "%.26s %.16s", format_count(n).s, n == 1 ? one : many);
    return out;
}

struct text
format_size(uint64_t bytes)
{
    static const char units[] = "\0KMGTPE";
    struct text out;
    unsigned unit = 0;
    double value = (double)bytes;

    while (value >= 1000.0 && units[unit + 1] != '\0') { /* 1000: no five-digit "1010K" */
        value /= 1024.0;
        unit++;
    }
    if (unit == 0)
        snprintf(out.s, sizeof(out.s), "%" PRIu64, bytes);
    else
        snprintf(out.s, sizeof(out.s), value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
    return out;
}

struct text
format_percent(uint64_t part, uint64_t whole)
{
    struct text out;
    double percent = whole == 0 ? 0.0 : 100.0 * (double)part / (double)whole;

    if (part > 0 && whole > 0 && percent < 0.1)
        percent = 0.1;
    snprintf(out.s, sizeof(out.s), "%.1f %%", percent);
    return out;
}

struct text
format_age(uint64_t ns)
{
    struct text out;
    uint64_t s = ns / NS_PER_S;

    if (ns < NS_PER_S)
        snprintf(out.s, sizeof(out.s), "%" PRIu64 " ms", ns / NS_PER_MS);
    else if (s < 60)
        snprintf(out.s, sizeof(out.s), "%" PRIu64 " s", s);
    else if (s < 3600)
        snprintf(out.s, sizeof(out.s), "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out.s, sizeof(out.s), "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        snprintf(out.s, sizeof(out.s), "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
    return out;
}

double
format_seconds(uint64_t ns)
{
    /* Whole milliseconds. */
    return (double)(ns / NS_PER_MS) / 1000.0; /* NOLINT(bugprone-integer-division) */
}

const char *
style_bold(bool color)
{
    return color ? "\033[1m" : "";
}

const char *
style_dim(bool color)
{
    return color ? "\033[2m" : "";
}

const char *
style_alert(bool color)
{
    return color ? "\033[1;31m" : "";
}

const char *
style_end(bool color)
{
    return color ? "\033[0m" : "";
}
