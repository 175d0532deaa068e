/* SPDX-License-Identifier: MIT */
/*
 * known_leaks.c - a plain malloc program that loses a known number of blocks
 * at known lines, for a leak finder to be measured by.
 *
 * Lost: 500 blocks of 24 bytes, 300 of 100 and 200 of 1,000; a list of 50
 * nodes of which only the head's address is lost; a cycle of two.  Not lost:
 * a table of 10,000 nodes, and a block that only an interior pointer holds.
 * It says "ready" and stays until its standard input ends, so that a core can
 * be taken or the live process looked at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SMALL_COUNT 500
#define MEDIUM_COUNT 300
#define LARGE_COUNT 200
#define LIST_COUNT 50
#define TABLE_COUNT 10000

struct node {
    struct node *next;
    char payload[48];
};

/* Globals that a compiler must believe to be read, lest it deletes the mallocs. */
static void *volatile sink;
static struct node *volatile table[TABLE_COUNT];
static char *volatile interior;

__attribute__((noipa)) static void
lose_small(void)
{
    for (int i = 0; i < SMALL_COUNT; i++)
        sink = malloc(24); /* LOST: small */
}

__attribute__((noipa)) static void
lose_medium(void)
{
    for (int i = 0; i < MEDIUM_COUNT; i++)
        sink = malloc(100); /* LOST: medium */
}

__attribute__((noipa)) static void
lose_large(void)
{
    for (int i = 0; i < LARGE_COUNT; i++)
        sink = malloc(1000); /* LOST: large */
}

__attribute__((noipa)) static void
lose_list(void)
{
    struct node *head = NULL;
    for (int i = 0; i < LIST_COUNT; i++) {
        struct node *node = malloc(sizeof(*node)); /* LOST: list */
        if (node == NULL)
            abort();
        node->next = head;
        head = node;
    }
    sink = head;
}

__attribute__((noipa)) static void
lose_cycle(void)
{
    struct node *a = malloc(sizeof(*a)); /* LOST: cycle a */
    struct node *b = malloc(sizeof(*b)); /* LOST: cycle b */
    if (a == NULL || b == NULL)
        abort();
    a->next = b;
    b->next = a;
    sink = a;
}

__attribute__((noipa)) static void
keep(void)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        table[i] = calloc(1, sizeof(struct node));
        if (table[i] == NULL)
            abort();
    }
    char *block = malloc(4000);
    if (block == NULL)
        abort();
    interior = block + 1234;
}

/* Wipes what the functions above left of addresses below our own frame. */
__attribute__((noipa)) static void
wipe_stack(void)
{
    volatile char area[16384];
    for (size_t i = 0; i < sizeof(area); i++)
        area[i] = 0;
}

int
main(void)
{
    lose_small();
    lose_medium();
    lose_large();
    lose_list();
    lose_cycle();
    keep();
    wipe_stack();
    sink = NULL;
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0;
}
