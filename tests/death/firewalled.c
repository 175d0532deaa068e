/* SPDX-License-Identifier: MIT */
/*
 * `firewalled CASE`: one access or free that a firewall stops.  Allocations,
 * frees and accesses are made by functions whose names the report has to give.
 */
#include "object.h"

#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define LARGE (5 << 20)

KEEP void
peek(const char *p)
{
    (void)*(const volatile char *)p;
}

KEEP void
poke(char *p)
{
    *(volatile char *)p = 'A';
}

KEEP void *
make_zeroed(size_t n, size_t size)
{
    return opaque(calloc(n, size));
}

KEEP void *
make_aligned(size_t align, size_t size)
{
    return opaque(memalign(align, size));
}

KEEP void *
resize_buffer(void *p, size_t size)
{
    return opaque(realloc(opaque(p), size));
}

static void
write_past_end(void)
{
    poke((char *)make_buffer(64) + 64);
}

static void
read_past_end(void)
{
    peek((char *)make_buffer(160) + 160);
}

static void
write_into_slack(void)
{
    char *p = make_buffer(100);
    poke(p + 100);
    drop_buffer(p);
}

static void
write_past_large(void)
{
    poke((char *)make_buffer(LARGE) + LARGE);
}

static void
write_past_zeroed(void)
{
    poke((char *)make_zeroed(3, 16) + 48);
}

static void
write_past_aligned(void)
{
    poke((char *)make_aligned(65536, 4096) + 4096);
}

static void
write_past_resized(void)
{
    poke((char *)resize_buffer(make_buffer(64), 320) + 320);
}

static void
read_after_resize(void)
{
    char *p = make_buffer(64);
    (void)resize_buffer(p, 320);
    peek(p + 5);
}

static void
read_after_free(void)
{
    char *p = make_buffer(64);
    drop_buffer(p);
    peek(p + 63);
}

static void
write_after_free_large(void)
{
    char *p = make_buffer(LARGE);
    drop_buffer(p);
    other_work();
    poke(p + 0x12345);
}

static void
write_before_start(void)
{
    poke((char *)make_buffer(72) - 1);
}

static void
free_twice(void)
{
    char *p = make_buffer(64);
    drop_buffer(p);
    other_work();
    drop_buffer(p);
}

static void
write_past_object(void)
{
    poke((char *)make_object(new_cache("anvil_cache", 48)) + 48);
}

static void
read_freed_object(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 48);
    char *p = make_object(cp);
    drop_object(cp, p);
    peek(p);
}

static void *
thread_main(void *p)
{
    poke((char *)p + 64);
    return NULL;
}

static void
write_by_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, thread_main, make_buffer(64));
    pthread_join(thread, NULL);
}

static void
write_by_child(void)
{
    char *p = make_buffer(64);
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        poke(p + 64);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        raise(WTERMSIG(status));
}

/*
 * One of many blocks is sampled.  The others' bytes past the end are those of a
 * neighbour that nobody uses.
 */
#define MANY 100000

static void
write_past_sampled(void)
{
    for (int i = 0; i < MANY; i++) {
        char *p = make_buffer(64);
        poke(p + 64);
        drop_buffer(p);
    }
}

static void
read_after_free_sampled(void)
{
    for (int i = 0; i < MANY; i++) {
        char *p = make_buffer(64);
        drop_buffer(p);
        peek(p + 7);
    }
}

/* The program has a handler, since before the library was used or later. */
static sigjmp_buf out;

static void
handler(int number)
{
    (void)number;
    if (write(1, "handled\n", 8) == 8)
        siglongjmp(out, 1);
}

static void
handled_by_earlier(void)
{
    signal(SIGSEGV, handler);
    for (int i = 0; i < 2; i++)
        if (sigsetjmp(out, 1) == 0)
            poke((char *)make_sized(64) + 64);
    _exit(0);
}

static void
handled_by_later(void)
{
    char *p = make_sized(64);

    signal(SIGSEGV, handler);
    if (sigsetjmp(out, 1) == 0)
        poke(p + 64);
    _exit(0);
}

#define CASE(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }
static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    CASE(write_past_end),     CASE(read_past_end),           CASE(write_into_slack),
    CASE(write_past_large),   CASE(write_past_zeroed),       CASE(write_past_aligned),
    CASE(write_past_resized), CASE(read_after_resize),       CASE(read_after_free),
    CASE(write_before_start), CASE(write_after_free_large),  CASE(free_twice),
    CASE(write_past_object),  CASE(read_freed_object),       CASE(write_by_thread),
    CASE(write_past_sampled), CASE(read_after_free_sampled), CASE(write_by_child),
    CASE(handled_by_earlier), CASE(handled_by_later),
};

int
main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (argc == 2 && strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            return survived();
        }
    return 2;
}
