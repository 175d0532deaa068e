/* SPDX-License-Identifier: MIT */
/*
 * Writes into what the library keeps beside a block, but not from the block on,
 * as a pointer does that was never right.
 *
 *   wild_write WHERE
 *
 * WHERE: "tag", behind the first words of the tag at a block's end; "freed_tag",
 * the tag of a freed block; "state" or "size" in a block's bufctl.
 */
#include "death.h"

#include <stddef.h>

#define SIZE 40
#define REDZONE 0xfeedfaceu

/* As in src/umem/debug/bufctl.h. */
struct tag {
    uint32_t redzone, size, bufctl, state;
};

struct bufctl {
    uint64_t size : 48;
    uint8_t state;
};

static struct tag *
find_tag(char *p)
{
    struct tag *tag = opaque(p + SIZE);

    while (tag->redzone != REDZONE)
        tag = (struct tag *)(void *)((char *)tag + 4);
    return tag;
}

/* Whose lower half the tag has: the one that is in a mapping. */
static struct bufctl *
find_bufctl(uint32_t low)
{
    unsigned long start, end;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");

    while (fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%lx-%lx rw", &start, &end) != 2)
            continue;
        uintptr_t addr = (start & ~(uintptr_t)UINT32_MAX) | low;
        if (addr >= start && addr < end)
            return (struct bufctl *)addr;
    }
    exit(3);
}

int
main(int argc, char **argv)
{
    char *p = make_buffer(SIZE);
    struct tag *tag = find_tag(p);
    struct bufctl *bufctl = find_bufctl(tag->bufctl);
    const char *where = argc > 1 ? argv[1] : "";

    if (strcmp(where, "tag") == 0) {
        scribble(tag, offsetof(struct tag, bufctl), 2);
    } else if (strcmp(where, "freed_tag") == 0) {
        drop_buffer(p);
        scribble(tag, 0, 2);
        reuse_all(SIZE);
        return survived();
    } else if (strcmp(where, "state") == 0) {
        bufctl->state = 77;
    } else if (strcmp(where, "size") == 0) {
        bufctl->size = 1 << 20;
    } else {
        return 2;
    }
    drop_buffer(p);
    return survived();
}
