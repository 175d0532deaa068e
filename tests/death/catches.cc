/* SPDX-License-Identifier: MIT */
/*
 * The classic misuses of memory, one a run, for the table of docs/debugging.md:
 *
 *   catches MISUSE
 *
 * Prints "misused" behind the misuse, "freed" when all blocks are freed, and
 * returns from main(): so that it is seen when whoever watches has found it.
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace
{

constexpr size_t EVEN = 32;       /* a block that fills its multiple of 16 */
constexpr size_t ODD = 29;        /* and one that does not */
constexpr size_t LARGE = 5 << 20; /* one that allocators map and unmap */
constexpr long LATE = 100000;     /* frees after which few remember a block */

/* Apart from each other, so that an overrun of one hits none. */
alignas(64) char *block;  /* freed in the end, where it is one */
alignas(64) char *second; /* likewise */
alignas(64) char still[EVEN];

/* The pointer, of which the compiler knows nothing any more. */
char *
opaque(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return static_cast<char *>(p);
}

char *
make(size_t size)
{
    char *made = opaque(malloc(size));

    memset(made, 'x', size);
    return made;
}

void
drop(char *p)
{
    free(opaque(p));
}

void
read(const char *p, long at)
{
    (void)*const_cast<const volatile char *>(opaque(const_cast<char *>(p)) + at);
}

void
write(char *p, long at)
{
    *const_cast<volatile char *>(opaque(p) + at) = 'A';
}

/* Other blocks come and go, all of the same size. */
void
go_on()
{
    for (long i = 0; i < LATE; i++)
        drop(make(EVEN));
}

/* A block that is freed, and the pointer to it that is left behind. */
char *
stale(size_t size)
{
    char *p = make(size);

    drop(p);
    return p;
}

char *
stale_by_realloc()
{
    char *p = make(EVEN), *old = opaque(p);

    second = make(EVEN); /* so that it has to move */
    block = opaque(realloc(p, 400));
    return old;
}

void
late(void (*use)(char *, long))
{
    char *p = stale(EVEN);

    go_on();
    use(p, 4);
}

void
read_late(char *p, long at)
{
    read(p, at);
}

void
double_free_late()
{
    char *p = stale(EVEN);

    block = make(EVEN); /* another owner, where it is given out again */
    drop(p);
}

void
read_uninitialised()
{
    block = opaque(malloc(EVEN));
    if (opaque(block)[4] == 'A')
        puts("A");
}

void
overlap()
{
    block = make(EVEN);
    void *(*volatile copy)(void *, const void *, size_t) = memcpy;
    copy(opaque(block) + 4, opaque(block), EVEN / 2);
}

void
leak()
{
    block = make(EVEN);
    memset(opaque(&block), 0, sizeof(block));
}

void
past_stack_array()
{
    char array[EVEN];

    memset(opaque(array), 0, EVEN);
    write(array, EVEN);
}

const struct {
    const char *name;
    void (*commit)();
} misuses[] = {
    {"read-past", [] { read(block = make(EVEN), EVEN); }},
    {"read-past-odd", [] { read(block = make(ODD), ODD); }},
    {"write-past", [] { write(block = make(EVEN), EVEN); }},
    {"write-past-odd", [] { write(block = make(ODD), ODD); }},
    {"read-before", [] { read(block = make(EVEN), -1); }},
    {"write-before", [] { write(block = make(EVEN), -1); }},
    {"read-freed", [] { read(stale(EVEN), 4); }},
    {"write-freed", [] { write(stale(EVEN), 20); }},
    {"read-freed-late", [] { late(read_late); }},
    {"write-freed-late", [] { late(write); }},
    {"read-freed-large", [] { read(stale(LARGE), LARGE / 2); }},
    {"read-moved", [] { read(stale_by_realloc(), 4); }},
    {"write-moved", [] { write(stale_by_realloc(), 20); }},
    {"double-free", [] { drop(stale(EVEN)); }},
    {"double-free-late", double_free_late},
    {"realloc-freed", [] { block = opaque(realloc(stale(EVEN), 2 * EVEN)); }},
    {"free-inside", [] { drop(make(EVEN) + 16); }},
    {"free-static", [] { drop(still + 16); }},
    {"delete-other", [] { delete opaque(new char[EVEN]); }},
    {"read-uninitialised", read_uninitialised},
    {"memcpy-overlap", overlap},
    {"leak", leak},
    {"past-static-array", [] { write(still, EVEN); }},
    {"past-stack-array", past_stack_array},
};

void
say(const char *what)
{
    puts(what);
    fflush(stdout);
}

} // namespace

int
main(int argc, char **argv)
{
    for (const auto &misuse : misuses)
        if (argc == 2 && strcmp(argv[1], misuse.name) == 0) {
            misuse.commit();
            say("misused");
            drop(block);
            drop(second);
            say("freed");
            return 0;
        }
    return 2;
}
