/* SPDX-License-Identifier: MIT */
/*
 * test_contents.c - the contents log gives back the newest record of a buffer
 * as long as the ring has not come round, also with writers at work.
 */
#include "support.h"

#include <pthread.h>

#include "debug/contents.h"
#include "debug/debug.h"

#define BYTES 100
#define LOG_SIZE 16384
/* A slot is the bytes kept and at most 64 of its own. */
#define SLOTS_MIN (LOG_SIZE / (BYTES + 64))

static char blocks[4][200];

static int
setup(void **state)
{
    (void)state;
    umem_options.opt_contents_bytes = BYTES;
    umem_options.opt_contents_log = LOG_SIZE;
    return 0;
}

static void
finds_the_newest(void **state)
{
    char got[200];

    (void)state;
    assert_int_equal(umem_contents_find(blocks[0], 0, got, sizeof(got)), 0);
    for (int i = 0; i < 4; i++) {
        memset(blocks[i], 'a' + i, sizeof(blocks[i]));
        umem_contents_log(blocks[i], sizeof(blocks[i]));
    }
    memset(blocks[2], 'z', sizeof(blocks[2]));
    umem_contents_log(blocks[2], 10);
    /* Cut to the option, and to what there was. */
    size_t kept = umem_contents_find(blocks[1], 0, got, sizeof(got));
    assert_in_range(kept, BYTES, BYTES + 15);
    assert_int_equal(got[0], 'b');
    assert_int_equal(umem_contents_find(blocks[2], 0, got, sizeof(got)), 10);
    assert_memory_equal(got, "zzzzzzzzzz", 10);
    /* A window of it. */
    assert_int_equal(umem_contents_find(blocks[2], 7, got, sizeof(got)), 3);
    assert_int_equal(umem_contents_find(blocks[2], 10, got, sizeof(got)), 0);
    assert_int_equal(umem_contents_find(blocks[2], 5000, got, sizeof(got)), 0);
    assert_int_equal(umem_contents_find(blocks[1], 90, got, 4), 4);
}

static void
forgets_the_oldest(void **state)
{
    char got[200];
    size_t later = 0;

    (void)state;
    umem_contents_log(blocks[0], BYTES);
    while (umem_contents_find(blocks[0], 0, got, sizeof(got)) != 0 && later < 10000) {
        umem_contents_log(blocks[1], BYTES);
        later++;
    }
    assert_in_range(later, SLOTS_MIN, LOG_SIZE / BYTES);
}

static void *
writer(void *arg)
{
    char *block = arg;

    for (int i = 0; i < 20000; i++) {
        memset(block, 'a' + i % 26, BYTES);
        umem_contents_log(block, BYTES);
    }
    return NULL;
}

static void
never_torn(void **state)
{
    pthread_t threads[3];
    char got[200];

    (void)state;
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, writer, blocks[i]);
    for (int i = 0; i < 2000; i++) {
        size_t kept = umem_contents_find(blocks[i % 3], 0, got, BYTES);
        for (size_t j = 1; j < kept; j++)
            assert_int_equal(got[j], got[0]);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}

static _Atomic int stop;

static void *
endless_writer(void *arg)
{
    while (!stop)
        umem_contents_log(arg, BYTES);
    return NULL;
}

/* Every slot serves the child of a fork in the midst of writing. */
static void
fork_while_writing(void **state)
{
    pthread_t thread;

    (void)state;
    pthread_create(&thread, NULL, endless_writer, blocks[0]);
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            char got[200];
            umem_contents_fork_child();
            for (int j = 0; j < LOG_SIZE / BYTES; j++) {
                umem_contents_log(blocks[3] + j % 50, 20);
                if (umem_contents_find(blocks[3] + j % 50, 0, got, sizeof(got)) != 20)
                    _exit(1);
            }
            _exit(0);
        }
        int status;
        (void)waitpid(pid, &status, 0);
        assert_int_equal(status, 0);
    }
    stop = 1;
    pthread_join(thread, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_newest),
        cmocka_unit_test(forgets_the_oldest),
        cmocka_unit_test(never_torn),
        cmocka_unit_test(fork_while_writing),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
