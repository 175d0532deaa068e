/* SPDX-License-Identifier: MIT */
/*
 * leaky.c - a heap of a given number of blocks, of which it is known what leaks.
 *
 *   leaky BLOCKS          makes them, then prints lines "name value" and waits; for
 *                         each line of input it prints the longest pause since the last
 *   leaky BLOCKS check    has the leak checker look that the program was built with
 *                         (-fsanitize=leak) or runs under (valgrind), and ends
 *
 * Blocks of 16 to 200 bytes are the nodes of lists, of trees, and of arrays of
 * pointers, 64 blocks a structure.  A thousand structures grow at the same time,
 * each time another one by a block: neighbours in memory belong to different
 * ones, as in a program that has run for a while.  Of a thousand structures that
 * are complete one is forgotten: its first block is a direct leak, 63 hang on it.
 *
 * A second thread wakes up every 0.2 ms and writes to a block.  The longest time
 * between two of its turns is what a program notices of being looked at.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif

#define NODES 64 /* of a structure */
#define GROWING 1000
#define FORGOTTEN 1000 /* of so many structures one */
#define TICK_NS 200000
#define STACK_SCRUB 65536

enum shape { LIST, TREE, ARRAY, SHAPES };

struct node { /* of a list or a tree; the smallest block has room for no more */
    struct node *left;
    struct node *right;
};

struct structure {
    enum shape shape;
    unsigned count;
    void *root; /* the only way to it; an array of pointers, or a node */
};

static struct structure growing[GROWING];
static void **kept; /* roots of those that are complete; itself a block */
static uint64_t kept_count;
static uint64_t blocks;
static uint64_t forgotten; /* structures */
static uint64_t bytes;
static _Atomic(uint64_t) longest_ns;

static uint64_t
now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint32_t
next_random(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(state >> 33);
}

static void *
new_block(size_t size)
{
    void *block = calloc(1, size);
    if (block == NULL) {
        fprintf(stderr, "leaky: no memory after %llu blocks\n", (unsigned long long)blocks);
        exit(1);
    }
    blocks++;
    bytes += size;
    return block;
}

static size_t
node_size(void)
{
    static const size_t sizes[] = {16, 24, 32, 32, 48, 64, 96, 200};
    return sizes[next_random() % (sizeof(sizes) / sizeof(sizes[0]))];
}

__attribute__((noinline)) static void
grow_list(struct structure *s)
{
    struct node **at = (struct node **)&s->root;
    struct node *node = new_block(node_size());
    if (*at != NULL) { /* behind the first: that one stays the way to all of them */
        node->left = (*at)->left;
        (*at)->left = node;
    } else {
        *at = node;
    }
}

/* Nodes have no keys: a new one goes down by chance. */
__attribute__((noinline)) static void
grow_tree(struct structure *s)
{
    struct node **at = (struct node **)&s->root;
    while (*at != NULL)
        at = next_random() % 2 != 0 ? &(*at)->left : &(*at)->right;
    *at = new_block(node_size());
}

__attribute__((noinline)) static void
grow_array(struct structure *s)
{
    if (s->root == NULL) {
        s->root = new_block((NODES - 1) * sizeof(void *));
        return;
    }
    void **slots = s->root;
    slots[s->count - 1] = new_block(node_size());
}

static void
grow(struct structure *s)
{
    if (s->shape == LIST)
        grow_list(s);
    else if (s->shape == TREE)
        grow_tree(s);
    else
        grow_array(s);
    s->count++;
}

static void
finish(struct structure *s, uint64_t number)
{
    if (s->count == NODES && number % FORGOTTEN == FORGOTTEN / 2)
        forgotten++;
    else
        kept[kept_count++] = s->root;
    *s = (struct structure){.shape = (enum shape)(number % SHAPES)};
}

__attribute__((noinline)) static void
build(uint64_t wanted)
{
    uint64_t number = 0;
    kept = new_block((wanted / NODES + GROWING + 1) * sizeof(*kept));
    for (unsigned i = 0; i < GROWING; i++)
        growing[i].shape = (enum shape)(i % SHAPES);
    while (blocks < wanted) {
        struct structure *s = &growing[next_random() % GROWING];
        grow(s);
        if (s->count == NODES)
            finish(s, number++);
    }
    for (unsigned i = 0; i < GROWING; i++)
        if (growing[i].root != NULL)
            finish(&growing[i], 0);
}

/* What build() left on the stack holds nothing. */
__attribute__((noinline)) static void
scrub(void)
{
    char room[STACK_SCRUB];
    memset(room, 0, sizeof(room));
    __asm__ volatile("" : : "r"(room) : "memory");
}

static void *
tick(void *arg)
{
    const struct timespec pause = {.tv_nsec = TICK_NS};
    uint64_t last = now_ns();
    uint64_t turn = 0;
    (void)arg;
    for (;;) {
        nanosleep(&pause, NULL);
        uint64_t now = now_ns();
        if (now - last > atomic_load(&longest_ns))
            atomic_store(&longest_ns, now - last);
        last = now;
        struct node *node = kept[turn++ % kept_count]; /* the kernel copies its page, if it must */
        *(struct node *volatile *)&node->left = node->left;
    }
    return NULL;
}

/* Kilobytes, of a line of /proc/self/status. */
static uint64_t
status_kb(const char *field)
{
    char line[256];
    unsigned long long value = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            sscanf(line + strlen(field), " %llu", &value);
    if (file != NULL)
        fclose(file);
    return value;
}

/* --- The checkers that the program can ask; weak, since only one of them is there --- */

extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
extern const char *__lsan_default_options(void);

/* Once is enough: not at exit again. */
const char *
__lsan_default_options(void)
{
    return "detect_leaks=1:leak_check_at_exit=0";
}

static int
check(void)
{
    uint64_t resident = status_kb("VmRSS:");
    uint64_t before = now_ns();
    if (__lsan_do_recoverable_leak_check != NULL) {
        (void)__lsan_do_recoverable_leak_check(); /* prints how many there are */
#ifdef VALGRIND_DO_LEAK_CHECK
    } else if (RUNNING_ON_VALGRIND) {
        unsigned long leaked = 0, dubious, reachable, suppressed;
        VALGRIND_DO_LEAK_CHECK;
        VALGRIND_COUNT_LEAK_BLOCKS(leaked, dubious, reachable, suppressed);
        (void)dubious, (void)reachable, (void)suppressed;
        printf("found %lu\n", leaked);
#endif
    } else {
        fprintf(stderr, "leaky: no leak checker is built in, and this is not valgrind\n");
        return 1;
    }
    printf("check_s %.6f\n", (double)(now_ns() - before) / 1e9);
    printf("before_kb %llu\nmore_kb %llu\n", (unsigned long long)resident,
           (unsigned long long)(status_kb("VmHWM:") - resident));
    return 0;
}

static void
answer(void)
{
    pthread_t thread;
    char line[16];
    if (pthread_create(&thread, NULL, tick, NULL) != 0)
        return;
    while (fgets(line, sizeof(line), stdin) != NULL) {
        printf("pause_ms %.3f\n", (double)atomic_exchange(&longest_ns, 0) / 1e6);
        fflush(stdout);
    }
}

int
main(int argc, char **argv)
{
    uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    if (wanted < 100000) {
        fprintf(stderr, "usage: leaky BLOCKS [check], of 100,000 and more\n");
        return 2;
    }
    uint64_t before = now_ns();
    build(wanted);
    scrub();
    printf("build_s %.6f\nblocks %llu\nbytes %llu\nleaked %llu\n",
           (double)(now_ns() - before) / 1e9, (unsigned long long)blocks, (unsigned long long)bytes,
           (unsigned long long)forgotten * NODES);
    fflush(stdout);
    if (argc > 2)
        return check();
    answer();
    return 0;
}
