/* SPDX-License-Identifier: MIT */
/*
 * misuse.c - what a caller did wrong, said on stderr.
 *
 * Formats into its own stack and writes it at once: no memory, no lock.
 */
#include "base/print.h"
#include "os/os.h"
#include "vmem/private.h"

#define STDERR 2
/* The longest message has two names of 32 and five numbers of 20. */
#define MESSAGE_SIZE 320

static void
complain(const char *fmt, va_list ap)
{
    char text[MESSAGE_SIZE];
    size_t length = umem_snprintf(text, sizeof(text), "umem: ");

    length += umem_vsnprintf(text + length, sizeof(text) - length, fmt, ap);
    length = umem_min(length, sizeof(text) - 1);
    text[length] = '\n';
    os_write(STDERR, text, length + 1);
}

void
vmem_complain(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
}

void
vmem_misuse(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
    os_abort();
}

/* The segment that holds addr, or NULL: by going through its span, which is as good as over. */
static struct vmem_seg *
segment_around(struct vmem *vmp, uintptr_t addr)
{
    struct vmem_seg *span = vmem_span_find(vmp, addr);

    if (span == NULL)
        return NULL;
    for (struct umem_list *order = span->seg_order.next; order != &vmp->vm_order;
         order = order->next) {
        struct vmem_seg *seg = vmem_seg_of(order);
        if (seg->seg_type == VMEM_SEG_SPAN)
            break;
        if (addr >= seg->seg_start && addr < seg->seg_end)
            return seg;
    }
    return NULL;
}

void
vmem_misuse_not_allocated(struct vmem *vmp, const char *function, uintptr_t addr, size_t size)
{
    struct vmem_seg *seg = segment_around(vmp, addr);

    if (seg == NULL)
        vmem_misuse("%s(arena '%s', %p, %zu): not allocated here: in no span of it", function,
                    vmp->vm_name, (void *)addr, size);
    /* cppcheck-suppress nullPointerRedundantCheck; vmem_misuse() does not return */
    if (seg->seg_type == VMEM_SEG_FREE)
        vmem_misuse("%s(arena '%s', %p, %zu): not allocated here: free already", function,
                    vmp->vm_name, (void *)addr, size);
    vmem_misuse("%s(arena '%s', %p, %zu): not allocated here: inside the segment at %p of %zu",
                function, vmp->vm_name, (void *)addr, size, (void *)seg->seg_start,
                vmem_seg_size(seg));
}
