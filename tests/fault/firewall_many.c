/* SPDX-License-Identifier: MIT */
/*
 * `firewall_many COUNT [refuse]`: COUNT blocks of 64 bytes live behind a
 * firewall at once.  refuse: the kernel has no guard regions (a filter of
 * system calls says so).  Prints how many blocks have their guard (one of
 * STEP is asked), and the mappings that they took.  Exit code 77: no filters.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <umem.h>
#include <unistd.h>

enum { SIZE = 64, STEP = 100, SKIPPED = 77, GUARD_INSTALL = 102, GUARD_REMOVE = 103 };

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))

static int
refuse_guards(void)
{
    struct sock_filter code[] = {
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 4),
        LOAD(args[2]),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, GUARD_INSTALL, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, GUARD_REMOVE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static long
count_maps(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    long lines = 0;

    for (int c; (c = fgetc(maps)) != EOF;)
        lines += c == '\n';
    fclose(maps);
    return lines;
}

/* Whether what follows the block cannot be read. */
static int
is_guarded(const char *p, int fd)
{
    return write(fd, p + SIZE, 1) == -1 && errno == EFAULT;
}

int
main(int argc, char **argv)
{
    long count = atol(argv[1]), guarded = 0, before = count_maps();
    char **block = calloc((size_t)count, sizeof(*block));
    int pipes[2];

    if (argc > 2 && !refuse_guards())
        return SKIPPED;
    if (pipe(pipes) != 0)
        return 2;
    for (long i = 0; i < count; i++) {
        block[i] = umem_alloc(SIZE, UMEM_DEFAULT);
        if (block[i] == NULL)
            return 3;
        if (i % STEP == 0)
            memset(block[i], (int)(i / STEP), SIZE);
    }
    for (long i = 0; i < count; i += STEP) {
        guarded += is_guarded(block[i], pipes[1]);
        for (long j = 0; j < SIZE; j++)
            if (block[i][j] != (char)(i / STEP))
                return 4;
    }
    printf("guarded %ld\nmaps %ld\n", guarded, count_maps() - before);
    fflush(stdout);
    /* The program's own mappings are not what was taken. */
    for (int i = 0; i < 20000; i++) {
        char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED || mprotect(page, 4096, PROT_NONE) != 0)
            return 5;
        munmap(page, 8192);
    }
    for (long i = 0; i < count; i++)
        umem_free(block[i], SIZE);
    /* What was freed is guarded anew. */
    char *again = umem_alloc(SIZE, UMEM_DEFAULT);
    return again != NULL && is_guarded(again, pipes[1]) ? 0 : 6;
}
