/* SPDX-License-Identifier: MIT */
/*
 * Many blocks from many stacks: what a report of a large program is like.
 *
 *   many_stacks BLOCKS    allocates them from 5,000 stacks of some twenty
 *                         frames and 30 sizes, loses one in forty, says "ready"
 *                         and waits
 *
 * Which of ten functions calls which is told by the digits of the stack's
 * number, so that all stacks differ.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STACKS 5000
#define DIGITS 4
#define FRAMES_EACH 4 /* of each function, one in another */
#define SIZES 30
#define SIZE_STEP 24
#define LOST_ONE_IN 40

typedef void *step_fn(unsigned number, unsigned depth);
static step_fn *const steps[10];
static size_t block_size;
static void *volatile sink;

/* The digit's function calls itself a few times, then the next digit's. */
static void *
next_step(unsigned number, unsigned depth)
{
    if (depth == DIGITS * FRAMES_EACH) {
        char *block = malloc(block_size);
        if (block == NULL)
            abort();
        return block;
    }
    if (depth % FRAMES_EACH == FRAMES_EACH - 1)
        return steps[number / 10 % 10](number / 10, depth + 1);
    return steps[number % 10](number, depth + 1);
}

#define STEP(name)                                                                                 \
    __attribute__((noipa)) static void *name(unsigned number, unsigned depth)                      \
    {                                                                                              \
        void *block = next_step(number, depth);                                                    \
        sink = block;                                                                              \
        return block;                                                                              \
    }
STEP(parse_request)
STEP(open_session)
STEP(read_headers)
STEP(decode_body)
STEP(look_up_user)
STEP(load_template)
STEP(render_page)
STEP(compress_output)
STEP(write_log)
STEP(update_cache)
static step_fn *const steps[10] = {parse_request, open_session,  read_headers, decode_body,
                                   look_up_user,  load_template, render_page,  compress_output,
                                   write_log,     update_cache};

int
main(int argc, char **argv)
{
    size_t blocks = argc > 1 ? strtoul(argv[1], NULL, 10) : STACKS;
    void **kept = calloc(blocks, sizeof(*kept));
    if (kept == NULL)
        return 1;
    for (size_t i = 0; i < blocks; i++) {
        unsigned number = (unsigned)(i % STACKS);
        block_size = SIZE_STEP * (1 + number % SIZES);
        void *block = steps[number % 10](number, 1);
        memset(block, 0, block_size);
        kept[i] = i % LOST_ONE_IN == LOST_ONE_IN - 1 ? NULL : block;
    }
    sink = NULL;
    puts("ready");
    fflush(stdout);
    pause();
    free(kept);
    return 0;
}
