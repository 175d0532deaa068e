/* SPDX-License-Identifier: MIT */
/*
 * Writes one byte into a freed block.
 *
 *   used_after_free KIND PLACE HOW
 *
 * PLACE: "first", "middle", "last" byte.  HOW: "taken", more blocks of the kind
 * are taken than were ever free; "left", nobody takes another one; "thread", as
 * that, and it is another thread that writes.
 */
#include "kinds.h"

static size_t at;

static void *
stray(void *p)
{
    ((char *)opaque(p))[at] = 'A';
    __asm__ volatile("" : : : "memory");
    return NULL;
}

/* So many that the first ones are handed out again: each leaves as others come. */
KEEP void
take_again(const char *kind)
{
    for (size_t bytes = 0, turn = 0; bytes < (16 << 20) || turn < 100; bytes += size, turn++) {
        char *p = make_block(kind);
        if (turn % 2 != 0)
            drop_block(kind, p);
    }
}

int
main(int argc, char **argv)
{
    pthread_t thread;

    if (argc != 4)
        return 2;
    char *p = make_block(argv[1]);
    printf("%p\n", (void *)p);
    fflush(stdout);
    at = is(argv[2], "first") ? 0 : is(argv[2], "middle") ? size / 2 : size - 1;
    drop_block(argv[1], p);
    if (is(argv[3], "thread")) {
        pthread_create(&thread, NULL, stray, p);
        pthread_join(thread, NULL);
    } else {
        stray(p);
    }
    if (is(argv[3], "taken"))
        take_again(argv[1]);
    return survived();
}
