/* SPDX-License-Identifier: MIT */
/*
 * malloc under limits.  `limits lock`: mlockall(MCL_CURRENT | MCL_FUTURE)
 * under the caller's RLIMIT_MEMLOCK, then allocates until NULL.  `limits
 * space`: allocates until NULL under the caller's RLIMIT_AS.  Both then free
 * a half, and must be able to go on.
 */
#include "check.h"

#include <errno.h>
#include <sys/mman.h>

enum { BLOCKS = 400000 };
static void *block[BLOCKS];

static int
fill_and_recover(size_t size)
{
    int n = 0;
    errno = 0;
    for (; n < BLOCKS; n++) {
        if ((block[n] = malloc(size)) == NULL)
            break;
        memset(block[n], n, size);
    }
    int why = errno;
    CHECK(n > 10 && n < BLOCKS);
    CHECK(why == ENOMEM || why == EAGAIN);
    CHECK(calloc(1, (size_t)64 << 20) == NULL);
    for (int i = 0; i < n; i++)
        CHECK(((unsigned char *)block[i])[size - 1] == (unsigned char)i);
    for (int i = 0; i < n; i += 2)
        free(block[i]);
    for (int i = 0; i < n / 2; i += 2) {
        block[i] = malloc(size);
        CHECK(block[i] != NULL);
    }
    for (int i = 1; i < n; i += 2)
        free(block[i]);
    for (int i = 0; i < n / 2; i += 2)
        free(block[i]);
    return n;
}

static void
space(void)
{
    fill_and_recover(1000);
    fill_and_recover(100000);
    fill_and_recover(300);
}

static void
lock(void)
{
    NEED(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    fill_and_recover(1000);
    fill_and_recover(20000);
}

static const struct section sections[] = {{"space", space}, {"lock", lock}};

int
main(int argc, char **argv)
{
    return check_main(argc, argv, sections, sizeof(sections) / sizeof(sections[0]));
}
