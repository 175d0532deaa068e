/* SPDX-License-Identifier: MIT */
/*
 * No misuse: prints what fresh, zeroed and freed memory look like, as words.
 * The freed block is read on purpose.
 */
#include "death.h"

KEEP void
show(const char *what, const void *p, size_t size)
{
    const uint32_t *word = opaque((void *)(uintptr_t)p);
    size_t same = 0;
    for (size_t i = 0; i < size / 4; i++)
        same += word[i] == word[0];
    printf("%s %08x %s\n", what, word[0], same == size / 4 ? "all" : "mixed");
}

int
main(void)
{
    char *p = make_buffer(4000);
    show("fresh", p, 4000);
    drop_buffer(p);
    show("freed", p, 4000);
    p = opaque(calloc(10, 400));
    show("zeroed", p, 4000);
    drop_buffer(p);
    p = make_buffer(400000);
    show("large", p, 400000);
    drop_buffer(p);
    return 0;
}
