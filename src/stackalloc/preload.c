/* SPDX-License-Identifier: MIT */
/*
 * preload.c - pthread_create() of programs that know nothing of the library:
 * libstackalloc_preload, with join.c and over libstackalloc.
 *
 * A thread gets the smallest stack of the library that is no smaller than what
 * it asked for.  One that asked for nothing gets what STACKALLOC_OPTIONS=size=N
 * says; the item "watermark" has each filled, so that it can be told how deep
 * the thread went.  libc makes the others as always: those without either, those that
 * want more than 2 MiB, and those that bring a stack.  Of the last kind are the
 * threads of stack_pthread_create() itself, whose call comes back here.
 *
 * Owns the option, read when the library is loaded.  No locks; makes no system call but write().
 */
#include <dlfcn.h>
#include <errno.h>
#include <stackalloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stack.h"

#define OPTIONS "STACKALLOC_OPTIONS"
#define SIZE_MIN ((size_t)1 << STACK_SIZE_SHIFT_MIN)
#define SIZE_MAX_CLASS ((size_t)1 << STACK_SIZE_SHIFT_MAX)
#define KIB_SHIFT 10
#define MIB_SHIFT 20

typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static create_fn *libc_create;
static size_t size_option; /* 0: none */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
complain(const char *item, size_t length)
{
    static const char before[] = "stackalloc: " OPTIONS ": \"";
    static const char after[] = "\": give size=N, 32k to 2m, or watermark\n";
    ssize_t n = write(STDERR_FILENO, before, sizeof(before) - 1);
    n += write(STDERR_FILENO, item, length);
    n += write(STDERR_FILENO, after, sizeof(after) - 1);
    (void)n;
}

/* The smallest size of the library that holds bytes; 0 where none does. */
static size_t
size_holding(size_t bytes)
{
    size_t size = SIZE_MIN;
    while (size < bytes && size < SIZE_MAX_CLASS)
        size <<= 1;
    return bytes <= size ? size : 0;
}

/* 0 where text is no size that a stack can have. */
static size_t
parse_size(const char *text, const char *end)
{
    size_t bytes = 0;
    const char *start = text;
    /* More digits than 2 MiB has are too many. */
    while (text < end && text - start < 8 && *text >= '0' && *text <= '9')
        bytes = bytes * 10 + (size_t)(*text++ - '0');
    if (text == start)
        return 0;
    if (text < end && (*text | 0x20) == 'k')
        bytes <<= KIB_SHIFT, text++;
    else if (text < end && (*text | 0x20) == 'm')
        bytes <<= MIB_SHIFT, text++;
    return text == end && bytes != 0 ? size_holding(bytes) : 0;
}

/* For the threads to come of any size; a program that has chosen how they are made has done so. */
static void
fill_stacks(void)
{
    const struct stack_config config = {.config_watermark = STACK_WATERMARK_FILL};
    for (size_t size = SIZE_MIN; size <= SIZE_MAX_CLASS; size <<= 1)
        (void)stack_config(size, &config, sizeof(config));
}

static bool
is_item(const char *text, size_t length, const char *name)
{
    return length == strlen(name) && strncmp(text, name, length) == 0;
}

static void
parse_options(const char *text)
{
    static const char name[] = "size=";
    while (*text != '\0') {
        text += strspn(text, ", \t");
        size_t length = strcspn(text, ", \t");
        size_t size = 0;
        if (strncmp(text, name, sizeof(name) - 1) == 0)
            size = parse_size(text + sizeof(name) - 1, text + length);
        if (size != 0)
            size_option = size;
        else if (is_item(text, length, "watermark"))
            fill_stacks();
        else if (length != 0)
            complain(text, length);
        text += length;
    }
}

static void
init(void)
{
    const char *options = secure_getenv(OPTIONS);
    if (options != NULL)
        parse_options(options);
    libc_create = (create_fn *)dlsym(RTLD_NEXT, "pthread_create");
}

/* The program may take its environment apart before it makes a thread, as nginx does. */
__attribute__((constructor)) static void
at_load(void)
{
    pthread_once(&once, init);
}

/* What a thread gets that does not ask. */
static size_t
default_size(void)
{
    pthread_attr_t attr;
    size_t bytes = 0;
#ifdef __GLIBC__
    if (pthread_getattr_default_np(&attr) != 0)
        return 0;
#else
    if (pthread_attr_init(&attr) != 0)
        return 0;
#endif
    pthread_attr_getstacksize(&attr, &bytes);
    pthread_attr_destroy(&attr);
    return bytes;
}

/* The size of stack for a thread, 0 where it is to be libc's. */
static size_t
size_for(const pthread_attr_t *attr)
{
    size_t bytes = default_size(), asked = bytes;
    void *base;
    if (attr != NULL) {
        /* Without a stack of its own: an error from musl, one that ends at NULL from glibc. */
        if (pthread_attr_getstack(attr, &base, &asked) == 0 && (uintptr_t)base + asked != 0)
            return 0;
        if (pthread_attr_getstacksize(attr, &asked) != 0)
            return 0;
    }
    return asked == bytes && size_option != 0 ? size_option : size_holding(asked);
}

STACK_EXPORT int
pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    pthread_once(&once, init);
    size_t size = size_for(attr);
    /* Where there is no room for one, libc's own way may still do. */
    if (size != 0 && stack_pthread_create(id, attr, size, fn, arg) == 0)
        return 0;
    return libc_create != NULL ? libc_create(id, attr, fn, arg) : ENOSYS;
}
