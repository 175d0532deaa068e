/* SPDX-License-Identifier: MIT */
/*
 * server.c - the program of which the examples in the manual of the umem command
 * tell: it has leaks, a freed entry, a block that was written past its end, a
 * thread on a stack of libstackalloc, and sessions.
 *
 * It says where things are, then "ready"; for each line of input it adds a
 * thousand sessions, and says "more".
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stackalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SITE __attribute__((noipa)) static
#define SESSIONS 1000
#define SESSIONS_MAX 100000

void *table[4]; /* its name is looked for */
static void *sessions[SESSIONS_MAX];
static int session_count;
static void *volatile last;

SITE void
make_entry(void)
{
    table[0] = memset(malloc(48), 0, 48);
}

SITE void
drop_entry(void *entry)
{
    free(entry);
}

SITE char *
make_block(void)
{
    return memset(malloc(100), 0, 100);
}

SITE void
add_session(void)
{
    sessions[session_count++] = malloc(100);
    last = malloc(30); /* lost with the next one */
}

SITE void
close_session(void)
{
    free(malloc(1000));
}

SITE void *
serve(void *arg)
{
    if (stack_name(&arg, "server") != 0)
        abort();
    pause();
    return arg;
}

static void
say(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        abort();
}

int
main(void)
{
    const struct stack_config config = {.config_watermark = STACK_WATERMARK_FILL};
    pthread_t thread;
    char line[32];
    if (stack_config(65536, &config, sizeof(config)) != 0)
        return 1;
    make_entry();
    drop_entry(table[0]);
    make_entry();
    void **holder = malloc(16);
    holder[1] = (char *)table[0] + 5;
    table[1] = holder;
    char *volatile block = make_block();
    block[103] = 'A'; /* three bytes behind the end */
    table[2] = block;
    if (stack_pthread_create(&thread, NULL, 65536, serve, NULL) != 0 ||
        pthread_setname_np(thread, "server") != 0)
        return 1;
    for (int i = 0; i < SESSIONS; i++)
        add_session();
    snprintf(line, sizeof(line), "entry %p\n", table[0]);
    usleep(30000); /* some ticks of the clock: what is logged comes in their order */
    close_session();
    say(line);
    say("ready\n");
    while (read(STDIN_FILENO, line, sizeof(line)) > 0) {
        for (int i = 0; i < SESSIONS && session_count < SESSIONS_MAX; i++)
            add_session();
        say("more\n");
    }
    return 0;
}
