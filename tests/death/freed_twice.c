/* SPDX-License-Identifier: MIT */
/*
 * Frees a block twice.
 *
 *   freed_twice KIND HOW
 *
 * HOW: "at_once"; "later", after 20,000 operations on others; "thread", the
 * second time by another thread; "other_first", the first time; "grow" or
 * "same", the second time by realloc().
 */
#include "kinds.h"

static const char *kind;

static void *
drop_in_thread(void *p)
{
    drop_block(kind, p);
    return NULL;
}

static void
drop_by_other(char *p)
{
    pthread_t thread;

    pthread_create(&thread, NULL, drop_in_thread, p);
    pthread_join(thread, NULL);
}

KEEP void *
resize_block(void *p, size_t more)
{
    return opaque(realloc(opaque(p), size + more));
}

int
main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    kind = argv[1];
    char *p = make_block(kind);
    printf("%p\n", (void *)p);
    fflush(stdout);
    if (is(argv[2], "other_first"))
        drop_by_other(p);
    else
        drop_block(kind, p);
    if (is(argv[2], "later"))
        for (int i = 0; i < 50; i++)
            other_work();
    if (is(argv[2], "thread"))
        drop_by_other(p);
    else if (is(argv[2], "grow") || is(argv[2], "same"))
        (void)resize_block(p, is(argv[2], "grow") ? 1000 : 0);
    else
        drop_block(kind, p);
    return survived();
}
