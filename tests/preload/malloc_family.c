/* SPDX-License-Identifier: MIT */
/*
 * The contract of the malloc family, seen from a program: every function, as
 * glibc and POSIX have it.  Holds for glibc's own malloc too, which keeps the
 * test honest; functions that glibc may lack are looked up with dlsym().
 */
#include "bytes.h"
#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

static void
malloc_zero(void)
{
    enum { N = 1000 };
    void *p[N];
    for (int i = 0; i < N; i++) {
        p[i] = opaque(malloc(opaque_size(0)));
        NEED(p[i] != NULL);
        CHECK(aligned(p[i], 16));
        for (int j = 0; j < i; j++)
            NEED(p[i] != p[j]);
    }
    for (int i = 0; i < N; i++)
        free(p[i]);
    for (int i = 0; i < 2; i++) {
        void *q = opaque(i ? calloc(0, opaque_size(8)) : calloc(opaque_size(8), 0));
        CHECK(q != NULL);
        free(q);
    }
}

/* Every size to 5,000, all live at once: aligned, large enough, apart. */
static void
sizes_1_to_5000(void)
{
    enum { N = 5000 };
    static unsigned char *p[N + 1];
    for (size_t n = 1; n <= N; n++) {
        p[n] = malloc(n);
        NEED(p[n] != NULL);
        CHECK(aligned(p[n], 16));
        CHECK(malloc_usable_size(p[n]) >= n);
        stamp(p[n], n, n);
    }
    for (size_t n = 1; n <= N; n++)
        CHECK(stamped(p[n], n, n));
    for (size_t n = 1; n <= N; n++)
        free(p[n]);
}

/* What malloc_usable_size() says may be used, to the last byte. */
static void
usable_size(void)
{
    CHECK(malloc_usable_size(NULL) == 0);
    for (size_t n = 0; n < 300000; n = n * 3 / 2 + 1) {
        unsigned char *p = malloc(n), *q = malloc(n);
        NEED(p != NULL && q != NULL);
        size_t usable = malloc_usable_size(p);
        CHECK(usable >= n);
        stamp(p, usable, 1);
        stamp(q, malloc_usable_size(q), 2);
        CHECK(stamped(p, usable, 1));
        free(p);
        free(q);
    }
}

static void
large_sizes(void)
{
    for (size_t shift = 17; shift <= 30; shift++) {
        for (int d = -1; d <= 1; d++) {
            size_t n = ((size_t)1 << shift) + (size_t)d;
            volatile char *p = malloc(n);
            NEED(p != NULL);
            CHECK(aligned((void *)(uintptr_t)p, 16));
            for (size_t i = 0; i < n && i < 100 * PAGE; i += PAGE)
                p[i] = 1;
            p[n - 1] = 2;
            CHECK(p[n - 1] == 2);
            free((void *)(uintptr_t)p);
        }
    }
}

/* More than PTRDIFF_MAX can be no object. */
static void
too_large(void)
{
    size_t sizes[] = {(size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096, SIZE_MAX - 15,
                      SIZE_MAX};
    void *keep = malloc(100);
    stamp(keep, 100, 3);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = opaque_size(sizes[i]);
        void *out = (void *)7;
#define FAILS(call)                                                                                \
    errno = 0;                                                                                     \
    CHECK((call) == NULL);                                                                         \
    CHECK(errno == ENOMEM)
        FAILS(opaque(malloc(n)));
        FAILS(opaque(calloc(n, 1)));
        FAILS(opaque(calloc(1, n)));
        FAILS(opaque(realloc(keep, n)));
        FAILS(opaque(realloc(NULL, n)));
        FAILS(opaque(memalign(64, n)));
        FAILS(opaque(memalign(PAGE * 16, n)));
        FAILS(opaque(aligned_alloc(64, n)));
        FAILS(opaque(valloc(n)));
        FAILS(opaque(pvalloc(n)));
        CHECK(posix_memalign(&out, 64, n) == ENOMEM);
        CHECK(out == (void *)7);
    }
    CHECK(stamped(keep, 100, 3));
    free(keep);
}

static void
calloc_overflow(void)
{
    size_t half = opaque_size((size_t)1 << 33);
    FAILS(opaque(calloc(half, half)));
    FAILS(opaque(calloc(SIZE_MAX / 2, 3)));
    FAILS(opaque(calloc(SIZE_MAX, SIZE_MAX)));
    FAILS(opaque(calloc(((size_t)1 << 32) + 1, (size_t)1 << 32)));
}

/* Zeroed, however dirty the memory was that it is made of. */
static void
calloc_zero(void)
{
    static const size_t sizes[] = {1,      7,      8,      16,      24,     31,
                                   100,    400,    1000,   4000,    10000,  65536,
                                   131072, 131073, 200000, 1 << 20, 5 << 20};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        size_t n = sizes[s];
        void *dirty[8];
        for (int i = 0; i < 8; i++) {
            NEED((dirty[i] = malloc(n)) != NULL);
            memset(dirty[i], 0xa5, n);
        }
        for (int i = 0; i < 8; i++)
            free(dirty[i]);
        /* Three in a row, and again after each was dirtied. */
        for (int round = 0; round < 3; round++) {
            char *a = calloc(n, 1), *b = calloc(1, n), *c = calloc(n, 1);
            NEED(a != NULL && b != NULL && c != NULL);
            CHECK(a != b && b != c && a != c);
            CHECK(all_bytes(a, 0, n) && all_bytes(b, 0, n) && all_bytes(c, 0, n));
            memset(a, 0x5a, n);
            memset(b, 0x5a, n);
            memset(c, 0x5a, n);
            free(a);
            free(b);
            free(c);
        }
    }
}

static void
realloc_null_and_zero(void)
{
    char *p = realloc(NULL, 50);
    NEED(p != NULL);
    stamp(p, 50, 1);
    /* glibc frees and returns NULL. */
    CHECK(opaque(realloc(p, opaque_size(0))) == NULL);
    /* One of size 0 stays where the new one cannot be had. */
    NEED((p = malloc(opaque_size(0))) != NULL);
    CHECK(opaque(realloc(p, opaque_size(SIZE_MAX / 4))) == NULL);
    free(p);
    p = realloc(NULL, opaque_size(0));
    CHECK(p != NULL);
    free(p);
}

static void
realloc_grows(void)
{
    char *p = NULL;
    size_t old = 0;
    for (size_t n = 1; n < 3000000; n = n + n / 7 + 1) {
        char *q = realloc(p, n);
        NEED(q != NULL);
        CHECK(aligned(q, 16));
        CHECK(stamped(q, old, 9));
        stamp(q, n, 9);
        p = q;
        old = n;
    }
    free(p);
}

static void
realloc_shrinks(void)
{
    size_t n = 3000000;
    char *p = malloc(n);
    NEED(p != NULL);
    stamp(p, n, 4);
    while (n > 1) {
        n = n - n / 5 - 1;
        if (n == 0)
            break;
        NEED((p = realloc(p, n)) != NULL);
        CHECK(stamped(p, n, 4));
        CHECK(malloc_usable_size(p) >= n);
    }
    free(p);
}

/* The same size again, and up and down between neighbours that must not move. */
static void
realloc_among_others(void)
{
    enum { N = 200 };
    char *p[N];
    size_t size[N];
    unsigned seed = 1;
    for (size_t i = 0; i < N; i++) {
        size[i] = 1 + i * 13;
        NEED((p[i] = malloc(size[i])) != NULL);
        stamp(p[i], size[i], i);
    }
    for (int round = 0; round < 5000; round++) {
        seed = seed * 1103515245u + 12345u;
        size_t i = (seed >> 16) % N;
        size_t want = 1 + (seed >> 8) % (round % 100 == 0 ? 400000 : 6000);
        if (round % 5 == 0)
            want = size[i];
        size_t common = want < size[i] ? want : size[i];
        NEED((p[i] = realloc(p[i], want)) != NULL);
        CHECK(stamped(p[i], common, i));
        stamp(p[i], want, i);
        size[i] = want;
    }
    for (size_t i = 0; i < N; i++) {
        CHECK(stamped(p[i], size[i], i));
        free(p[i]);
    }
}

static void
realloc_huge(void)
{
    size_t n = 1 << 20;
    char *p = malloc(n);
    NEED(p != NULL);
    stamp(p, n, 5);
    for (; n < (size_t)64 << 20; n *= 2) {
        NEED((p = realloc(p, n * 2)) != NULL);
        CHECK(stamped(p, 1 << 20, 5));
        p[n * 2 - 1] = 1;
    }
    NEED((p = realloc(p, 1 << 20)) != NULL);
    CHECK(stamped(p, 1 << 20, 5));
    free(p);
}

static void
realloc_of_aligned(void)
{
    for (size_t align = 16; align <= 65536; align *= 4) {
        char *p = memalign(align, 1000);
        NEED(p != NULL);
        stamp(p, 1000, align);
        NEED((p = realloc(p, 5000)) != NULL);
        CHECK(stamped(p, 1000, align));
        NEED((p = realloc(p, 10)) != NULL);
        CHECK(stamped(p, 10, align));
        free(p);
    }
}

static void
reallocarray_contract(void)
{
    int *p = reallocarray(NULL, 10, sizeof(int));
    NEED(p != NULL);
    stamp(p, 40, 6);
    p = reallocarray(p, 1000, sizeof(int));
    NEED(p != NULL);
    CHECK(stamped(p, 40, 6));
    FAILS(opaque(reallocarray(p, opaque_size(SIZE_MAX / 2), 3)));
    FAILS(opaque(reallocarray(p, opaque_size((size_t)1 << 33), (size_t)1 << 33)));
    CHECK(stamped(p, 40, 6));
    free(p);
}

static void
posix_memalign_contract(void)
{
    static const size_t bad[] = {0, 1, 2, 4, 3, 12, 24, 48, SIZE_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        void *p = (void *)5;
        errno = 77;
        CHECK(posix_memalign(&p, opaque_size(bad[i]), 100) == EINVAL);
        CHECK(p == (void *)5);
    }
    for (size_t align = sizeof(void *); align <= (size_t)4 << 20; align *= 2) {
        static const size_t sizes[] = {0, 1, 24, 100, 4096, 5000, 70000, 200000};
        void *p[8];
        for (size_t i = 0; i < 8; i++) {
            NEED(posix_memalign(&p[i], align, sizes[i]) == 0);
            CHECK(p[i] != NULL && aligned(p[i], align));
            CHECK(malloc_usable_size(p[i]) >= sizes[i]);
            stamp(p[i], sizes[i], align + i);
        }
        for (size_t i = 0; i < 8; i++) {
            CHECK(stamped(p[i], sizes[i], align + i));
            free(p[i]);
        }
    }
}

static void
memalign_contract(void)
{
    for (size_t align = 1; align <= (size_t)1 << 20; align *= 2) {
        void *p = memalign(align, 100);
        NEED(p != NULL);
        CHECK(aligned(p, align) && aligned(p, 16));
        memset(p, 1, 100);
        free(p);
        p = aligned_alloc(align, 2 * align);
        NEED(p != NULL);
        CHECK(aligned(p, align));
        memset(p, 1, 2 * align);
        free(p);
    }
    /* A size that is no multiple of the alignment is allowed since C17. */
    void *p = aligned_alloc(64, 10);
    CHECK(p != NULL && aligned(p, 64));
    free(p);
    /* memalign rounds a bad alignment up; aligned_alloc does, or says EINVAL. */
    p = memalign(opaque_size(48), 100);
    CHECK(p != NULL && aligned(p, 64));
    free(p);
    p = memalign(opaque_size(0), 100);
    CHECK(p != NULL);
    free(p);
    errno = 0;
    p = aligned_alloc(opaque_size(48), 100);
    CHECK(p != NULL ? aligned(p, 16) : errno == EINVAL);
    free(p);
    errno = 0;
    CHECK(opaque(memalign(opaque_size(SIZE_MAX / 2 + 2), 100)) == NULL);
    CHECK(errno == EINVAL);
    errno = 0;
    CHECK(opaque(memalign(opaque_size(SIZE_MAX / 2 + 1), 100)) == NULL);
    CHECK(errno == ENOMEM || errno == EINVAL);
}

static void
valloc_pvalloc(void)
{
    for (size_t n = 0; n < 5 * PAGE; n += 777) {
        void *p = valloc(n), *q = pvalloc(n);
        NEED(p != NULL && q != NULL);
        CHECK(aligned(p, PAGE) && aligned(q, PAGE));
        size_t pages = (n + PAGE - 1) / PAGE * PAGE;
        CHECK(malloc_usable_size(q) >= pages);
        memset(p, 1, n);
        memset(q, 2, pages);
        CHECK(all_bytes(p, 1, n));
        free(p);
        free(q);
    }
}

static void
free_keeps_errno(void)
{
    static const size_t sizes[] = {0, 10, 1000, 100000, 200000, 10 << 20, 200 << 20};
    errno = 1234;
    free(NULL);
    CHECK(errno == 1234);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *p = opaque(malloc(sizes[i]));
        errno = 1234;
        free(p);
        CHECK(errno == 1234);
        NEED(posix_memalign(&p, 8192, sizes[i]) == 0);
        errno = 4321;
        free(p);
        CHECK(errno == 4321);
    }
    /* Many at once, so that memory goes back to the system too. */
    enum { N = 2000 };
    static void *many[N];
    for (int i = 0; i < N; i++)
        many[i] = malloc(9000);
    errno = 99;
    for (int i = 0; i < N; i++)
        free(many[i]);
    CHECK(errno == 99);
}

/* Not promised by any standard, but programs (procps among them) look at errno afterwards. */
static void
success_keeps_errno(void)
{
    for (size_t n = 1; n < (size_t)64 << 20; n += n / 3 + 1) {
        void *p[6] = {NULL};
        errno = 0;
        p[0] = malloc(n);
        CHECK(errno == 0);
        p[1] = calloc(1, n);
        CHECK(errno == 0);
        p[2] = memalign(4096 << n % 3, n);
        CHECK(errno == 0);
        p[3] = malloc(n);
        p[3] = realloc(p[3], n * 2);
        CHECK(errno == 0);
        p[4] = realloc(malloc(n * 2), n);
        CHECK(errno == 0);
        CHECK(posix_memalign(&p[5], 64, n) == 0);
        CHECK(errno == 0);
        for (int i = 0; i < 6; i++) {
            NEED(p[i] != NULL);
            free(p[i]);
        }
        CHECK(errno == 0);
    }
}

static void
mallinfo_counts(void)
{
    enum { N = 3000 };
    static void *p[N];
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < N; i++)
        NEED((p[i] = malloc(1000)) != NULL);
    struct mallinfo2 full = mallinfo2();
    CHECK(full.uordblks + full.hblkhd >= before.uordblks + before.hblkhd + N * 1000);
    CHECK(full.arena + full.hblkhd >= N * 1000);
    for (int i = 0; i < N; i++)
        free(p[i]);
    struct mallinfo2 after = mallinfo2();
    /* What waits in quarantine is freed, too. */
    CHECK(after.uordblks + after.hblkhd <= before.uordblks + before.hblkhd + N * 50);
    /* A large one shows too. */
    void *large = malloc(50 << 20);
    NEED(large != NULL);
    full = mallinfo2();
    CHECK(full.uordblks + full.hblkhd >= before.uordblks + before.hblkhd + (50 << 20));
    free(large);
}

static void
malloc_info_is_xml(void)
{
    FILE *f = tmpfile();
    NEED(f != NULL);
    CHECK(malloc_info(0, f) == 0);
    CHECK(malloc_info(1, f) != 0);
    char text[65536];
    rewind(f);
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    CHECK(strncmp(text, "<malloc version=", 16) == 0);
    CHECK(strstr(text, "</malloc>") != NULL);
    fclose(f);
}

static void
mallopt_accepted(void)
{
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1);
    CHECK(mallopt(M_ARENA_MAX, 2) == 1);
    CHECK(mallopt(M_TOP_PAD, 65536) == 1);
    void *p = malloc(2 << 20);
    CHECK(p != NULL);
    free(p);
}

static size_t
rss_pages(void)
{
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    if (f != NULL)
        fclose(f);
    return resident;
}

/* After malloc_trim() most of what was freed has gone back to the system. */
static void
trim_gives_back(void)
{
    enum { N = 64000 };
    static void *p[N];
    (void)malloc_trim(0); /* or pages that earlier sections freed are used again */
    size_t start = rss_pages();
    for (int i = 0; i < N; i++) {
        NEED((p[i] = malloc(1000)) != NULL);
        memset(p[i], 1, 1000);
    }
    size_t full = rss_pages();
    CHECK(full > start + 10000);
    for (int i = 0; i < N; i++)
        free(p[i]);
    int r = malloc_trim(0);
    CHECK(r == 0 || r == 1);
    CHECK(rss_pages() < start + (full - start) / 2);
}

static void
malloc_stats_speaks(void)
{
    int saved = dup(2);
    FILE *f = tmpfile();
    NEED(f != NULL && saved >= 0);
    fflush(stderr);
    dup2(fileno(f), 2);
    malloc_stats();
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    CHECK(lseek(fileno(f), 0, SEEK_END) > 0);
    fclose(f);
}

/* C23; in the library, and perhaps not in the libc that is older. */
static void
free_sized_contract(void)
{
    void (*sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    void (*aligned_sized)(void *, size_t, size_t) =
        (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
    if (getenv("EXPECT_FREE_SIZED") != NULL)
        NEED(sized != NULL && aligned_sized != NULL);
    if (sized == NULL || aligned_sized == NULL)
        return;
    sized(NULL, 0);
    aligned_sized(NULL, 64, 0);
    for (size_t n = 0; n < 400000; n = n * 5 / 4 + 1) {
        void *p = malloc(n), *q = calloc(1, n), *r = realloc(malloc(3), n + 1);
        void *s = aligned_alloc(128, n);
        NEED(p != NULL && q != NULL && r != NULL && s != NULL);
        errno = 55;
        sized(p, n);
        sized(q, n);
        sized(r, n + 1);
        aligned_sized(s, 128, n);
        CHECK(errno == 55);
    }
}

static void *
mixed_work(void *arg)
{
    enum { N = 300 };
    size_t me = (size_t)(uintptr_t)arg;
    unsigned seed = (unsigned)me + 1;
    unsigned char *p[N] = {NULL};
    size_t size[N] = {0};
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1103515245u + 12345u;
        size_t i = (seed >> 16) % N;
        if (p[i] != NULL) {
            CHECK(stamped(p[i], size[i], me * 1000 + i));
            free(p[i]);
        }
        size[i] = 1 + (seed >> 4) % (round % 500 == 0 ? 300000 : 700);
        p[i] = malloc(size[i]);
        if (p[i] == NULL)
            return NULL;
        stamp(p[i], size[i], me * 1000 + i);
    }
    for (size_t i = 0; i < N; i++) {
        if (p[i] != NULL)
            CHECK(stamped(p[i], size[i], me * 1000 + i));
        free(p[i]);
    }
    return (void *)1;
}

static void
threads_mix(void)
{
    pthread_t t[8];
    for (size_t i = 0; i < 8; i++)
        NEED(pthread_create(&t[i], NULL, mixed_work, (void *)(uintptr_t)i) == 0);
    for (size_t i = 0; i < 8; i++) {
        void *done = NULL;
        pthread_join(t[i], &done);
        CHECK(done == (void *)1);
    }
}

/* Functions of libc that hand out memory or free what we hand in. */
static void
libc_uses_it(void)
{
    char *s = strdup("duplicated");
    NEED(s != NULL);
    CHECK(malloc_usable_size(s) >= 11);
    free(s);
    char *line = NULL;
    size_t cap = 0;
    FILE *f = tmpfile();
    NEED(f != NULL);
    for (int i = 0; i < 5000; i++)
        fputc('x', f);
    fputc('\n', f);
    rewind(f);
    CHECK(getline(&line, &cap, f) == 5001);
    CHECK(malloc_usable_size(line) >= 5002);
    free(line);
    line = malloc(4);
    cap = 4;
    rewind(f);
    CHECK(getline(&line, &cap, f) == 5001);
    free(line);
    fclose(f);
    CHECK(asprintf(&s, "%05000d", 7) == 5000);
    free(s);
    s = realpath("/usr/..", NULL);
    CHECK(s != NULL && strcmp(s, "/") == 0);
    free(s);
    char *memory = NULL;
    size_t n = 0;
    f = open_memstream(&memory, &n);
    NEED(f != NULL);
    for (int i = 0; i < 10000; i++)
        fputs("0123456789", f);
    fclose(f);
    CHECK(n == 100000 && memory[99999] == '9');
    free(memory);
}

static const struct section sections[] = {
    {"malloc_zero", malloc_zero},
    {"sizes_1_to_5000", sizes_1_to_5000},
    {"usable_size", usable_size},
    {"large_sizes", large_sizes},
    {"too_large", too_large},
    {"calloc_overflow", calloc_overflow},
    {"calloc_zero", calloc_zero},
    {"realloc_null_and_zero", realloc_null_and_zero},
    {"realloc_grows", realloc_grows},
    {"realloc_shrinks", realloc_shrinks},
    {"realloc_among_others", realloc_among_others},
    {"realloc_huge", realloc_huge},
    {"realloc_of_aligned", realloc_of_aligned},
    {"reallocarray_contract", reallocarray_contract},
    {"posix_memalign_contract", posix_memalign_contract},
    {"memalign_contract", memalign_contract},
    {"valloc_pvalloc", valloc_pvalloc},
    {"free_keeps_errno", free_keeps_errno},
    {"success_keeps_errno", success_keeps_errno},
    {"mallinfo_counts", mallinfo_counts},
    {"malloc_info_is_xml", malloc_info_is_xml},
    {"mallopt_accepted", mallopt_accepted},
    {"trim_gives_back", trim_gives_back},
    {"malloc_stats_speaks", malloc_stats_speaks},
    {"free_sized_contract", free_sized_contract},
    {"threads_mix", threads_mix},
    {"libc_uses_it", libc_uses_it},
};

int
main(int argc, char **argv)
{
    return check_main(argc, argv, sections, sizeof(sections) / sizeof(sections[0]));
}
