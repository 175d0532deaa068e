/* SPDX-License-Identifier: MIT */
/*
 * print.c - a small printf into a buffer: see print.h.
 *
 * Calls nothing.  State is one output cursor on the stack.
 */
#include "base/print.h"

#include "base/base.h"

/* 64 bits in base 10 are 20 digits. */
#define DIGITS_MAX 24

struct output {
    char *out_buf;
    size_t out_size;
    size_t out_length; /* of the whole text, kept or not */
};

/* One conversion as parsed. */
struct conversion {
    bool conv_left;
    bool conv_zero;
    size_t conv_width;
    size_t conv_precision;
    int conv_long; /* 0 int, 1 long (also z and t), 2 long long */
};

static void
put(struct output *out, char c)
{
    if (out->out_length + 1 < out->out_size)
        out->out_buf[out->out_length] = c;
    out->out_length++;
}

static void
put_padded(struct output *out, const struct conversion *conv, const char *text, size_t length)
{
    size_t padding = conv->conv_width > length ? conv->conv_width - length : 0;

    if (!conv->conv_left)
        for (size_t i = 0; i < padding; i++)
            put(out, ' ');
    for (size_t i = 0; i < length; i++)
        put(out, text[i]);
    if (conv->conv_left)
        for (size_t i = 0; i < padding; i++)
            put(out, ' ');
}

static void
put_number(struct output *out, struct conversion *conv, const char *prefix, unsigned long long n,
           unsigned base)
{
    char digits[DIGITS_MAX];
    size_t first = sizeof(digits);
    char text[2 * DIGITS_MAX];
    size_t length = 0;

    do {
        digits[--first] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n != 0);
    for (; *prefix != '\0'; prefix++)
        text[length++] = *prefix;
    if (conv->conv_zero && !conv->conv_left) {
        size_t zeroes_to = umem_min(conv->conv_width, DIGITS_MAX);
        while (length + (sizeof(digits) - first) < zeroes_to)
            text[length++] = '0';
    }
    while (first < sizeof(digits))
        text[length++] = digits[first++];
    put_padded(out, conv, text, length);
}

static unsigned long long
unsigned_argument(const struct conversion *conv, va_list *ap)
{
    if (conv->conv_long == 2)
        return va_arg(*ap, unsigned long long);
    if (conv->conv_long == 1)
        return va_arg(*ap, unsigned long);
    return va_arg(*ap, unsigned);
}

static long long
signed_argument(const struct conversion *conv, va_list *ap)
{
    if (conv->conv_long == 2)
        return va_arg(*ap, long long);
    if (conv->conv_long == 1)
        return va_arg(*ap, long);
    return va_arg(*ap, int);
}

static void
put_string(struct output *out, const struct conversion *conv, const char *text)
{
    size_t length = 0;

    if (text == NULL)
        text = "(null)";
    while (length < conv->conv_precision && text[length] != '\0')
        length++;
    put_padded(out, conv, text, length);
}

static void
put_conversion(struct output *out, struct conversion *conv, char kind, va_list *ap)
{
    switch (kind) {
    case 'd': {
        long long n = signed_argument(conv, ap);
        unsigned long long magnitude = n < 0 ? 0 - (unsigned long long)n : (unsigned long long)n;
        put_number(out, conv, n < 0 ? "-" : "", magnitude, 10);
        break;
    }
    case 'u':
        put_number(out, conv, "", unsigned_argument(conv, ap), 10);
        break;
    case 'x':
        put_number(out, conv, "", unsigned_argument(conv, ap), 16);
        break;
    case 'p':
        put_number(out, conv, "0x", (uintptr_t)va_arg(*ap, void *), 16);
        break;
    case 's':
        put_string(out, conv, va_arg(*ap, const char *));
        break;
    case 'c': {
        char c = (char)va_arg(*ap, int);
        put_padded(out, conv, &c, 1);
        break;
    }
    default: /* '%', or a conversion we do not have: shown as it stands */
        put(out, kind);
        break;
    }
}

/* Parses flags, width, precision and length after a '%'; returns where the kind stands. */
static const char *
parse_conversion(const char *fmt, struct conversion *conv, va_list *ap)
{
    *conv = (struct conversion){.conv_precision = SIZE_MAX};
    for (; *fmt == '-' || *fmt == '0'; fmt++) {
        conv->conv_left |= *fmt == '-';
        conv->conv_zero |= *fmt == '0';
    }
    for (; *fmt >= '0' && *fmt <= '9'; fmt++)
        conv->conv_width = conv->conv_width * 10 + (size_t)(*fmt - '0');
    if (*fmt == '.') {
        conv->conv_precision = 0;
        if (*++fmt == '*') {
            int n = va_arg(*ap, int);
            conv->conv_precision = n < 0 ? SIZE_MAX : (size_t)n;
            fmt++;
        }
        for (; *fmt >= '0' && *fmt <= '9'; fmt++)
            conv->conv_precision = conv->conv_precision * 10 + (size_t)(*fmt - '0');
    }
    for (; *fmt == 'l' || *fmt == 'z' || *fmt == 't'; fmt++)
        conv->conv_long++;
    return fmt;
}

size_t
umem_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
    struct output out = {buf, size, 0};
    va_list args; /* a va_list parameter may be an array type: take a copy to point at */

    va_copy(args, ap);
    for (; *fmt != '\0'; fmt++) {
        if (*fmt != '%') {
            put(&out, *fmt);
            continue;
        }
        struct conversion conv;
        fmt = parse_conversion(fmt + 1, &conv, &args);
        if (*fmt == '\0')
            break;
        put_conversion(&out, &conv, *fmt, &args);
    }
    va_end(args);
    if (size > 0)
        buf[umem_min(out.out_length, size - 1)] = '\0';
    return out.out_length;
}

size_t
umem_snprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    size_t length = umem_vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return length;
}
