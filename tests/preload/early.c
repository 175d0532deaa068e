/* SPDX-License-Identifier: MIT */
/*
 * malloc before main and after it: from .preinit_array, constructors of every
 * priority, atexit and on_exit handlers, destructors, and free of everything
 * at the very end.  Prints what ran, in order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *log_of_all;
static char *blocks[8];
static int count;

static void
note(const char *what)
{
    char *p = malloc(strlen(what) + 1);
    size_t old = log_of_all == NULL ? 0 : strlen(log_of_all);
    log_of_all = realloc(log_of_all, old + strlen(what) + 2);
    if (p == NULL || log_of_all == NULL)
        abort();
    strcpy(p, what);
    log_of_all[old] = '\0';
    strcat(strcat(log_of_all, p), " ");
    if (count < 8)
        blocks[count++] = p;
}

static void
preinit(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    note("preinit");
}
__attribute__((section(".preinit_array"), used)) static void (*preinit_entry)(int, char **,
                                                                              char **) = preinit;

__attribute__((constructor(101))) static void
first(void)
{
    note("first");
}

__attribute__((constructor)) static void
second(void)
{
    note("second");
}

__attribute__((destructor)) static void
last(void)
{
    note("destructor");
    puts(log_of_all);
    free(log_of_all);
    for (int i = 0; i < count; i++)
        free(blocks[i]);
}

static void
at_exit(void)
{
    note("atexit");
    free(calloc(100, 100));
}

static void
on_exit_too(int status, void *arg)
{
    note("on_exit");
    free(arg);
    (void)status;
}

int
main(void)
{
    atexit(at_exit);
    on_exit(on_exit_too, malloc(300));
    note("main");
    return 7;
}
