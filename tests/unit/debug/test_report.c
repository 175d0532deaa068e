/* SPDX-License-Identifier: MIT */
/*
 * test_report.c - reports under bad circumstances: nothing known of the
 * buffer, standard error closed, full or a broken pipe, a crash within the
 * report, threads that report at once, blocked and handled SIGABRT, no memory.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "cache/cache.h"
#include "debug/debug.h"
#include "debug/log.h"
#include "os/os.h"

static struct umem_cache first_cache = {.cache_name = "first_cache"};
static struct umem_cache second_cache = {.cache_name = "second_cache"};
/* A buffer a thread. */
static _Thread_local struct umem_bufctl bufctl;
static _Thread_local struct {
    struct umem_buftag front;
    _Alignas(16) char chunk[256];
} room;

static __attribute__((noinline)) struct umem_buffer
known_buffer(uint32_t flags)
{
    struct umem_buffer buf = {.buf_cache = &first_cache,
                              .buf_bufctl = &bufctl,
                              .buf_addr = room.chunk,
                              .buf_space = 32,
                              .buf_flags = flags};

    umem_debug_raw(&buf);
    umem_debug_alloc(&buf, 20);
    return buf;
}

struct kind {
    enum umem_error kind;
    const char *headline;
};

static const struct kind kinds[] = {
    {UMERR_MODIFIED, "umem allocator: buffer modified after being freed\n"},
    {UMERR_REDZONE, "umem allocator: redzone violation: write past end of buffer\n"},
    {UMERR_UNDERRUN, "umem allocator: redzone violation: write before start of buffer\n"},
    {UMERR_DUPFREE, "umem allocator: duplicate free: buffer freed twice\n"},
    {UMERR_BADADDR, "umem allocator: invalid free: buffer not in cache\n"},
    {UMERR_BADBUFTAG, "umem allocator: boundary tag corrupted\n"},
    {UMERR_BADBUFCTL, "umem allocator: bufctl corrupted\n"},
    {UMERR_BADCACHE, "umem allocator: buffer freed to wrong cache\n"},
    {UMERR_BADSIZE, "umem allocator: bad free: free size (24) != alloc size (16)\n"},
    {UMERR_BADBASE, "umem allocator: bad free: free address (0x1238) != alloc address ("},
};

/* With the least and with the most that can be known. */
static void
report_bare(void *arg)
{
    struct umem_error_info err = {.err_kind = ((const struct kind *)arg)->kind,
                                  .err_addr = (void *)0x1238,
                                  .err_size = 24,
                                  .err_alloc_size = 16};
    umem_report(&err);
}

static void
report_full(void *arg)
{
    struct umem_buffer buf = known_buffer(UMF_DEBUG);
    struct umem_error_info err = {.err_kind = ((const struct kind *)arg)->kind,
                                  .err_addr = (void *)0x1238,
                                  .err_buffer = &buf,
                                  .err_cache = &second_cache,
                                  .err_size = 24,
                                  .err_alloc_size = 16};
    umem_report(&err);
}

static void
report_no_bufctl(void *arg)
{
    struct umem_buffer buf = {.buf_cache = &first_cache, .buf_addr = room.chunk, .buf_space = 32};
    struct umem_error_info err = {.err_kind = ((const struct kind *)arg)->kind,
                                  .err_addr = (void *)0x1238,
                                  .err_buffer = &buf,
                                  .err_size = 24,
                                  .err_alloc_size = 16};
    umem_report(&err);
}

static void
every_kind(void **state)
{
    static void (*const ways[])(void *) = {report_bare, report_full, report_no_bufctl};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(kinds); i++)
        for (size_t way = 0; way < UMEM_ARRAY_SIZE(ways); way++) {
            const struct outcome *outcome = run_child(ways[way], (void *)(uintptr_t)&kinds[i]);
            assert_aborted(outcome);
            assert_memory_equal(outcome->text, kinds[i].headline, strlen(kinds[i].headline));
            assert_contains(outcome->text, "\numem: heap corruption detected\n");
            assert_contains(outcome->text, "\nstack of the thread that found it:");
            assert_contains(outcome->text, "`main+0x");
        }
    const struct outcome *outcome = run_child(report_full, (void *)(uintptr_t)&kinds[7]);
    assert_contains(outcome->text, "allocated from first_cache, freed to second_cache\n");
    outcome = run_child(report_bare, (void *)(uintptr_t)&kinds[4]);
    assert_contains(outcome->text, "\nbuffer=0x1238\nnothing is mapped at that address\n");
}

/* Where the call is wrong and no buffer. */
static void
report_null(void *arg)
{
    umem_options.opt_checknull = true;
    umem_debug_null(arg, 4711, ENOMEM, "moths");
}

static void
report_signal(void *arg)
{
    (void)arg;
    umem_report(&(struct umem_error_info){.err_kind = UMERR_SIGNAL});
}

static void
kinds_without_buffer(void **state)
{
    (void)state;
    const struct outcome *outcome = run_child(report_null, &second_cache);
    assert_aborted(outcome);
    assert_int_equal(strncmp(outcome->text,
                             "umem allocator: allocation returns NULL: moths\n"
                             "requested: 4711 bytes  cache: second_cache\n"
                             "stack of the thread that called: thread ",
                             strlen("umem allocator: allocation returns NULL: moths\n"
                                    "requested: 4711 bytes  cache: second_cache\n"
                                    "stack of the thread that called: thread ")),
                     0);
    assert_contains(run_child(report_null, NULL)->text, "  cache: none (oversize)\n");
    outcome = run_child(report_signal, NULL);
    assert_aborted(outcome);
    assert_contains(outcome->text, "umem allocator: heap used by a signal handler\nstack of the ");
    assert_lacks(outcome->text, "corruption");
}

/* What is said of addresses that are nobody's. */
static int global;

static void
report_address(void *arg)
{
    struct umem_error_info err = {.err_kind = UMERR_BADADDR, .err_addr = arg};

    umem_report(&err);
}

static void
foreign_addresses(void **state)
{
    char *page = os_map(os_page_size(), os_page_size());
    int local;

    (void)state;
    assert_contains(run_child(report_address, &local)->text, "is in the stack of this thread\n");
    assert_contains(run_child(report_address, &global)->text,
                    "is in static data: test_debug_report`global+0x0\n");
    assert_contains(run_child(report_address, (void *)(uintptr_t)report_address)->text,
                    "is in code: test_debug_report`report_address+0x0\n");
    assert_contains(run_child(report_address, page)->text, "in memory that is not umem's\n");
    os_unmap(page, os_page_size());
    assert_contains(run_child(report_address, page)->text, "nothing is mapped at that address\n");
    assert_contains(run_child(report_address, (void *)8)->text, "nothing is mapped");
}

/* A destroyed cache with live objects: no abort, no finder. */
static void
not_empty(void *arg)
{
    struct umem_buffer buf = known_buffer(UMF_AUDIT);
    struct umem_error_info err = {
        .err_kind = UMERR_NOTEMPTY, .err_buffer = &buf, .err_cache = &first_cache};

    (void)arg;
    umem_report(&err);
    err.err_buffer = NULL;
    umem_report(&err);
}

static void
not_empty_goes_on(void **state)
{
    (void)state;
    const struct outcome *outcome = run_child(not_empty, NULL);
    assert_int_equal(outcome->status, 0);
    assert_contains(outcome->text, "destroyed cache is not empty\n");
    assert_contains(outcome->text, "cache: first_cache");
    assert_contains(outcome->text, "allocated by thread ");
    assert_lacks(outcome->text, "corruption");
}

/* The frames of both transactions are those of their callers (unlike, lest gcc merge them). */
static __attribute__((noinline)) void
careful_owner(const struct umem_buffer *buf)
{
    umem_debug_free(buf, SIZE_MAX);
    __asm__ volatile("");
}

static __attribute__((noinline)) void
second_owner(const struct umem_buffer *buf)
{
    umem_debug_free(buf, 20);
    __asm__ volatile("");
}

static void
free_by_two(void *arg)
{
    struct umem_buffer buf = known_buffer(UMF_AUDIT);

    (void)arg;
    careful_owner(&buf);
    second_owner(&buf);
}

static void
stacks_are_named(void **state)
{
    (void)state;
    const char *text = run_child(free_by_two, NULL)->text;
    const char *freed = strstr(text, "\nfreed by thread ");
    const char *allocated = strstr(text, "\nallocated by thread ");
    const char *found = strstr(text, "\numem: heap corruption detected\n");
    assert_true(freed != NULL && allocated > freed && found > allocated);
    const char *careful = strstr(text, "`careful_owner+0x");
    const char *known = strstr(text, "`known_buffer+0x");
    const char *second = strstr(text, "`second_owner+0x");
    assert_true(careful > freed && careful < allocated);
    assert_true(known > allocated && known < found);
    assert_true(second > found);
    assert_contains(text, " s ago:\n");
}

/* --- Where the text goes --- */

static void
closed_stderr(void *arg)
{
    (void)arg;
    (void)close(STDERR_FILENO);
    report_bare((void *)(uintptr_t)&kinds[0]);
}

static void
full_stderr(void *arg)
{
    (void)arg;
    (void)dup2(open("/dev/full", O_WRONLY), STDERR_FILENO);
    report_bare((void *)(uintptr_t)&kinds[0]);
}

static void
broken_pipe(void *arg)
{
    int fds[2];

    (void)arg;
    if (pipe(fds) != 0)
        _exit(1);
    (void)close(fds[0]);
    (void)dup2(fds[1], STDERR_FILENO);
    report_bare((void *)(uintptr_t)&kinds[0]);
}

/* A handler that never lets SIGABRT through, and a mask. */
static void
blocked_abort(void *arg)
{
    sigset_t all;

    (void)arg;
    signal(SIGABRT, SIG_IGN);
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    report_bare((void *)(uintptr_t)&kinds[0]);
}

/* mlockall() and no address space: files can't be mapped, and need not be. */
static void
no_memory(void *arg)
{
    struct rlimit none = {0, 0};

    (void)arg;
    (void)mlockall(MCL_CURRENT | MCL_FUTURE);
    (void)setrlimit(RLIMIT_AS, &none);
    (void)setrlimit(RLIMIT_DATA, &none);
    report_full((void *)(uintptr_t)&kinds[1]);
}

static void
no_descriptors(void *arg)
{
    struct rlimit none = {3, 3};

    (void)arg;
    (void)setrlimit(RLIMIT_NOFILE, &none);
    report_full((void *)(uintptr_t)&kinds[1]);
}

static void
bad_circumstances(void **state)
{
    static void (*const ways[])(void *) = {closed_stderr, full_stderr, broken_pipe,
                                           blocked_abort, no_memory,   no_descriptors};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(ways); i++)
        assert_aborted(run_child(ways[i], NULL));
    assert_contains(run_child(no_memory, NULL)->text, "`main+0x");
    assert_contains(run_child(no_descriptors, NULL)->text, "test_debug_report");
}

/* SIGPIPE of a message is swallowed; one that was pending before stays. */
static void
message_to_broken_pipe(void *arg)
{
    sigset_t set, pending;

    (void)arg;
    umem_options.opt_noabort = true;
    broken_pipe(NULL);
    (void)sigpending(&pending);
    if (sigismember(&pending, SIGPIPE))
        _exit(2);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)raise(SIGPIPE);
    umem_message(true, "to nobody");
    (void)sigpending(&pending);
    if (!sigismember(&pending, SIGPIPE))
        _exit(3);
}

static void
sigpipe_is_kept_apart(void **state)
{
    (void)state;
    assert_int_equal(run_child(message_to_broken_pipe, NULL)->status, 0);
}

static void
ring_and_errno(void **state)
{
    uint64_t mark = umem_ring.ring_head;
    int saved = dup(STDERR_FILENO);

    (void)state;
    (void)close(STDERR_FILENO);
    umem_options.opt_noabort = true;
    errno = EDOM;
    report_full((void *)(uintptr_t)&kinds[1]);
    assert_int_equal(errno, EDOM);
    umem_options.opt_noabort = false;
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    const char *text = ring_since(mark);
    assert_memory_equal(text, kinds[1].headline, strlen(kinds[1].headline));
    assert_contains(text, "umem: heap corruption detected\n");
    assert_contains(text, "`main+0x");
}

/* --- Re-entry and concurrency --- */

/* What a handler of SIGSEGV, SIGALRM... may do in the midst of a report. */
static void
report_in_handler(int sig)
{
    (void)sig;
    report_bare((void *)(uintptr_t)&kinds[3]);
}

static void
crash_within_report(void *arg)
{
    (void)arg;
    signal(SIGSEGV, report_in_handler);
    struct umem_error_info err = {.err_kind = UMERR_MODIFIED, .err_buffer = (void *)8};
    umem_report(&err);
}

static void
crash_in_report_ends(void **state)
{
    (void)state;
    const struct outcome *outcome = run_child(crash_within_report, NULL);
    assert_aborted(outcome);
    assert_contains(outcome->text, "duplicate free: buffer freed twice, within a report");
}

static void *
report_in_thread(void *arg)
{
    for (int i = 0; i < 20; i++)
        report_full(arg);
    return NULL;
}

static void
four_threads(void *arg)
{
    pthread_t threads[4];

    umem_options.opt_noabort = arg == NULL;
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, report_in_thread, (void *)(uintptr_t)&kinds[i]);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

static unsigned
count(const char *text, const char *part)
{
    unsigned n = 0;

    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        n++;
    }
    return n;
}

static void
reports_do_not_mix(void **state)
{
    static const char head[] = "umem allocator: ";

    (void)state;
    /* The first report is the last. */
    const struct outcome *outcome = run_child(four_threads, "abort");
    assert_aborted(outcome);
    assert_int_equal(count(outcome->text, head), 1);
    assert_int_equal(count(outcome->text, "umem: heap corruption detected\n"), 1);

    /* One after the other. */
    outcome = run_child(four_threads, NULL);
    assert_int_equal(outcome->status, 0);
    const char *next = outcome->text;
    for (int i = 0; i < 30; i++) {
        const char *this = next;
        const char *found = strstr(this, "umem: heap corruption detected\n");
        next = strstr(this + 1, head);
        assert_memory_equal(this, head, strlen(head));
        assert_true(found != NULL && next != NULL && found < next);
    }
}

/* A thread that waits for the log while another forks: parent and child both go on. */
static void
fork_with_log(void *arg)
{
    (void)arg;
    umem_debug_fork_prepare();
    pid_t pid = fork();
    if (pid == 0) {
        umem_debug_fork_child();
        if (umem_thread_self() != (uint32_t)getpid())
            _exit(1);
        umem_message(true, "from the child");
        _exit(7);
    }
    umem_debug_fork_parent();
    int status;
    (void)waitpid(pid, &status, 0);
    umem_message(true, "from the parent");
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

static void
fork_handlers(void **state)
{
    (void)state;
    const struct outcome *outcome = run_child(fork_with_log, NULL);
    assert_int_equal(WEXITSTATUS(outcome->status), 7);
    assert_string_equal(outcome->text, "umem: from the child\numem: from the parent\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),
        cmocka_unit_test(kinds_without_buffer),
        cmocka_unit_test(foreign_addresses),
        cmocka_unit_test(not_empty_goes_on),
        cmocka_unit_test(stacks_are_named),
        cmocka_unit_test(bad_circumstances),
        cmocka_unit_test(sigpipe_is_kept_apart),
        cmocka_unit_test(ring_and_errno),
        cmocka_unit_test(crash_in_report_ends),
        cmocka_unit_test(reports_do_not_mix),
        cmocka_unit_test(fork_handlers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
