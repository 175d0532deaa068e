/* SPDX-License-Identifier: MIT */
/*
 * text.c - see text.h.  State: the text gathered, guarded by the ownership of
 * the log.
 */
#include "debug/text.h"

#include "base/print.h"
#include "debug/log.h"
#include "os/symbolise.h"
#include "os/unwind.h"

/* A report without stacks leaves in one write. */
#define TEXT_SIZE 4096
#define ROW_BYTES 16

static char text[TEXT_SIZE];
static size_t text_size;

void
umem_text_flush(void)
{
    umem_log_text(text, text_size, true);
    text_size = 0;
}

void
umem_text_add(const char *fmt, ...)
{
    va_list ap;

    if (sizeof(text) - text_size <= UMEM_TEXT_PIECE)
        umem_text_flush();
    va_start(ap, fmt);
    size_t length = umem_vsnprintf(text + text_size, UMEM_TEXT_PIECE + 1, fmt, ap);
    va_end(ap);
    text_size += umem_min(length, UMEM_TEXT_PIECE);
}

void
umem_text_stack(const uintptr_t *frames, uint32_t depth)
{
    static char symbol[OS_SYMBOL_SIZE];
    bool struck = false;

    if (depth == 0)
        umem_text_add("  (no frames)\n");
    for (uint32_t i = 0; i < depth; i++) {
        /* No call is before an address that a signal struck: it is looked up itself. */
        (void)os_symbolise(frames[i] + struck, symbol, sizeof(symbol));
        umem_text_add("  %s\n", symbol);
        struck = os_unwind_is_signal(frames[i]);
    }
}

static void
row(const unsigned char *from, size_t offset, size_t size)
{
    char shown[ROW_BYTES + 1];

    bool before = (ptrdiff_t)offset < 0;

    umem_text_add("  %c0x%-6zx", before ? '-' : '+', before ? -offset : offset);
    for (size_t i = 0; i < ROW_BYTES; i++) {
        if (i < size)
            umem_text_add(" %02x", from[i]);
        else
            umem_text_add("   ");
        shown[i] = i < size && from[i] >= ' ' && from[i] <= '~' ? (char)from[i] : '.';
    }
    shown[size] = '\0';
    umem_text_add("  %s\n", shown);
}

void
umem_text_bytes(const char *heading, const char *from, size_t offset, size_t size)
{
    umem_text_add("%s\n", heading);
    for (size_t i = 0; i < size; i += ROW_BYTES)
        row((const unsigned char *)from + i, offset + i, umem_min(size - i, ROW_BYTES));
}
