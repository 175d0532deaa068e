/* SPDX-License-Identifier: MIT */
/*
 * test_snapshot.c - a process writes a core file of itself: memory of every kind
 * is in it, and the process notices nothing.  What umem makes of such files
 * is tested from outside (tests/analyse/test_self.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "os/snapshot.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* see test_stop.c; and terabytes of shadow memory would be looked through */
#else
#define SANITIZED 0
#endif
#define SKIPPED 77

#define THREADS 3
#define PAGES 16

static _Atomic int children;
static _Atomic unsigned started;
static char marked[] = "to be found in the file";

static void
on_child(int number)
{
    (void)number;
    children++;
}

static void *
rest(void *arg)
{
    started++;
    for (;;)
        (void)pause();
    return arg;
}

static struct os_descriptor
descriptor(int fd)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    return (struct os_descriptor){fd, status.st_dev, status.st_ino};
}

static int
new_file(void)
{
    char path[] = "/tmp/umem-snapshot-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

/* What the copy says until it hangs up. */
static void
read_reply(int fd, char *reply, size_t size)
{
    size_t have = 0;
    ssize_t n;

    while ((n = read(fd, reply + have, size - 1 - have)) > 0)
        have += (size_t)n;
    reply[have] = '\0';
}

static void
await_end(void)
{
    while (os_descriptor_is_ours(os_snapshot_ended())) {
        os_sleep_ms(1);
        os_snapshot_reap();
    }
}

/* Has a snapshot made, the whole of it. */
static const char *
take(int file)
{
    static char reply[256];
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const struct os_descriptor to = descriptor(file), tell = descriptor(ends[0]);
    if (os_snapshot(&to, &tell) != 0) {
        close(ends[0]);
        close(ends[1]);
        return NULL;
    }
    close(ends[0]);
    read_reply(ends[1], reply, sizeof(reply));
    close(ends[1]);
    await_end();
    return reply;
}

/* Whether the file has the bytes there. */
static bool
holds(int file, const void *addr, const void *bytes, size_t size)
{
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr;
    char *have = malloc(size);
    bool same = false;

    assert_int_equal(pread(file, &ehdr, sizeof(ehdr), 0), sizeof(ehdr));
    for (unsigned i = 0; i < ehdr.e_phnum; i++) {
        off_t at = (off_t)(ehdr.e_phoff + i * sizeof(phdr));
        assert_int_equal(pread(file, &phdr, sizeof(phdr), at), sizeof(phdr));
        uintptr_t start = (uintptr_t)addr;
        if (phdr.p_type == PT_LOAD && phdr.p_vaddr <= start &&
            start + size <= phdr.p_vaddr + phdr.p_filesz)
            same = pread(file, have, size, (off_t)(phdr.p_offset + (start - phdr.p_vaddr))) ==
                       (ssize_t)size &&
                   memcmp(have, bytes, size) == 0;
    }
    free(have);
    return same;
}

static unsigned
count_notes(int file, uint32_t type)
{
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr;
    unsigned count = 0;

    assert_int_equal(pread(file, &ehdr, sizeof(ehdr), 0), sizeof(ehdr));
    assert_int_equal(pread(file, &phdr, sizeof(phdr), (off_t)ehdr.e_phoff), sizeof(phdr));
    assert_int_equal(phdr.p_type, PT_NOTE);
    for (uint64_t at = 0; at < phdr.p_filesz;) {
        Elf64_Nhdr note;
        assert_int_equal(pread(file, &note, sizeof(note), (off_t)(phdr.p_offset + at)),
                         sizeof(note));
        count += note.n_type == type;
        at += sizeof(note) + umem_align_up(note.n_namesz, 4) + umem_align_up(note.n_descsz, 4);
    }
    return count;
}

static char *
map(size_t pages, int how)
{
    char *mapped =
        mmap(NULL, pages * os_page_size(), PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS, -1, 0);

    assert_true(mapped != MAP_FAILED);
    return mapped;
}

static void
test_memory(void **state)
{
    const size_t page = os_page_size();
    char zeroes[64] = "", *shared = map(1, MAP_SHARED), *mixed = map(PAGES, MAP_PRIVATE),
         *unforked = map(2, MAP_PRIVATE);
    int file = new_file();

    (void)state;
    strcpy(shared, "shared");
    strcpy(mixed + page, "before a hole");
    strcpy(mixed + 3 * page, "behind a hole");
    assert_int_equal(mprotect(mixed + 2 * page, page, PROT_NONE), 0);
    strcpy(mixed + 5 * page, "read only");
    assert_int_equal(mprotect(mixed + 5 * page, page, PROT_READ), 0);
    strcpy(unforked + page, "not for children");
    assert_int_equal(madvise(unforked, 2 * page, MADV_DONTFORK), 0);
    const char *reply = take(file);
    assert_non_null(reply);
    assert_int_equal(strncmp(reply, "stopped ", 8), 0);
    assert_string_equal(strchr(reply, '\n'), "\nok\n");
    assert_true(holds(file, marked, marked, sizeof(marked)));
    assert_true(holds(file, shared, "shared", 7));
    assert_true(holds(file, mixed + page, "before a hole", 14));
    assert_true(holds(file, mixed + 3 * page, "behind a hole", 14));
    assert_false(holds(file, mixed + 2 * page, zeroes, sizeof(zeroes)));
    assert_true(holds(file, mixed + 4 * page, zeroes, sizeof(zeroes)));
    assert_true(holds(file, mixed + 5 * page, "read only", 10));
    assert_true(holds(file, unforked + page, "not for children", 17));
    assert_true(holds(file, unforked, zeroes, sizeof(zeroes)));
    assert_int_equal(count_notes(file, NT_PRSTATUS), THREADS + 1);
    close(file);
    munmap(shared, page);
    munmap(mixed, PAGES * page);
    munmap(unforked, 2 * page);
}

static void
test_nothing_is_noticed(void **state)
{
    int file = new_file();

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        assert_non_null(take(file));
    assert_int_equal(children, 0);
    assert_true(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD);
    close(file);
}

static void
test_no_file(void **state)
{
    int ends[2], only_read = open("/proc/self/exe", O_RDONLY), appending = new_file();

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_true(take(ends[1]) == NULL && errno == EINVAL);
    assert_true(take(only_read) == NULL && errno == EINVAL);
    assert_int_equal(fcntl(appending, F_SETFL, O_APPEND), 0);
    assert_true(take(appending) == NULL && errno == EINVAL);
    const struct os_descriptor none = OS_DESCRIPTOR_NONE;
    assert_true(os_snapshot(&none, &none) == -1 && errno == EBADF);
    close(ends[0]);
    close(ends[1]);
    close(only_read);
    close(appending);
}

/* The file grows too large: the copy says so, and no signal comes. */
static void
test_limit(void **state)
{
    struct rlimit limit, small = {65536, 0};
    int file = new_file();

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small.rlim_max = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const char *reply = take(file);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_non_null(reply);
    assert_non_null(strstr(reply, "\nerror: the file would be larger"));
    close(file);
}

/* Who has its file may have the next at once, though the copy may not have ended yet. */
static void
test_at_once(void **state)
{
    char line[1];
    int ends[2], file = new_file();
    const struct os_descriptor to = descriptor(file);

    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        const struct os_descriptor tell = descriptor(ends[0]);
        assert_int_equal(os_snapshot(&to, &tell), 0);
        for (int lines = 0; lines < 2; lines += line[0] == '\n')
            assert_int_equal(read(ends[1], line, 1), 1);
        close(ends[0]);
        close(ends[1]);
    }
    await_end();
    close(file);
}

/* One at a time; and who hangs up ends it. */
static void
test_client_goes(void **state)
{
    const size_t size = (size_t)64 << 20;
    char *much = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int ends[2], file = new_file();

    (void)state;
    assert_true(much != MAP_FAILED);
    memset(much, 1, size);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const struct os_descriptor to = descriptor(file), tell = descriptor(ends[0]);
    assert_int_equal(os_snapshot(&to, &tell), 0);
    assert_true(os_snapshot(&to, &tell) == -1 && errno == EBUSY);
    close(ends[0]);
    close(ends[1]);
    await_end();
    assert_non_null(take(file));
    close(file);
    munmap(much, size);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),  cmocka_unit_test(test_nothing_is_noticed),
        cmocka_unit_test(test_no_file), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_at_once), cmocka_unit_test(test_client_goes),
    };
    sigset_t all, before;
    pthread_t thread;

    if (SANITIZED)
        return SKIPPED;
    signal(SIGCHLD, on_child);
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&thread, NULL, rest, NULL) != 0)
            return 1;
    while (started < THREADS)
        os_sleep_ms(1);
    /* As the agent's thread: no signal comes to it. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
