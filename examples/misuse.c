/* SPDX-License-Identifier: MIT */
/*
 * misuse.c - one mistake a run, for docs/debugging.md.
 *
 *   misuse MISTAKE
 *
 * Without the library nearly all of them go unnoticed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So that the compiler neither drops a write that it knows to be useless nor merges functions. */
#define NOINLINE __attribute__((noinline))
#define POKE(p, at, value) (((volatile char *)(p))[at] = (value))

static NOINLINE char *
make_name(void)
{
    char *name = malloc(12);

    if (name == NULL)
        exit(1);
    return strcpy(name, "hello world");
}

static NOINLINE void
drop_name(char *name)
{
    free(name);
}

static NOINLINE void
overrun(char *name)
{
    POKE(name, strlen(name) + 3, '!'); /* leaves two bytes out: nothing adjacent is hit */
    drop_name(name);
}

static NOINLINE void
underrun(char *name)
{
    POKE(name, -1, '>');
    drop_name(name);
}

static NOINLINE void
write_after_free(char *name)
{
    drop_name(name);
    POKE(name, 4, '\0'); /* nobody allocates of that size again */
}

static NOINLINE void
read_past_end(char *name)
{
    const volatile char *text = name;
    unsigned sum = 0;

    for (int i = 0; i < 1000; i++)
        sum += (unsigned char)text[i];
    printf("checksum %s\n", sum != 0 ? "made" : "zero");
    drop_name(name);
}

/* The last line of a text of one line. */
static NOINLINE void
off_the_block(char *name)
{
    size_t size = (size_t)5 << 20;
    char *text = malloc(size);

    if (text == NULL)
        exit(1);
    memset(text, '-', size);
    const volatile char *line = text + size;
    while (line[-1] != '\n')
        line--;
    printf("the last line begins with %c\n", *line);
    drop_name(text);
    drop_name(name);
}

static NOINLINE void
double_free(char *name)
{
    drop_name(name);
    drop_name(name);
}

static NOINLINE void
free_inside(char *name)
{
    while (*name != ' ')
        name++;
    drop_name(name);
}

/* In a loop that runs at full speed, where checks of every block would be too slow. */
static NOINLINE void
rare_overrun(char *name)
{
    for (int i = 0; i < 3000000; i++) {
        char *block = make_name();
        if (i % 10 == 0)
            POKE(block, 16, '!');
        drop_name(block);
    }
    drop_name(name);
}

static NOINLINE void
too_much(char *name)
{
    char *all = malloc((size_t)1 << 60);

    if (all == NULL)
        puts("malloc returned NULL, and that is looked at");
    free(all);
    drop_name(name);
}

static NOINLINE void
leak(char *name)
{
    puts(name);
    name = NULL;
}

static const struct {
    const char *name;
    void (*make)(char *name);
} mistakes[] = {
    {"overrun", overrun},
    {"underrun", underrun},
    {"read-past-end", read_past_end},
    {"off-the-block", off_the_block},
    {"write-after-free", write_after_free},
    {"double-free", double_free},
    {"free-inside", free_inside},
    {"rare-overrun", rare_overrun},
    {"too-much", too_much},
    {"leak", leak},
};

int
main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++)
        if (argc == 2 && strcmp(argv[1], mistakes[i].name) == 0) {
            mistakes[i].make(make_name());
            return 0;
        }
    fprintf(stderr, "misuse: a mistake is wanted:");
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++)
        fprintf(stderr, " %s", mistakes[i].name);
    fputc('\n', stderr);
    return 2;
}
