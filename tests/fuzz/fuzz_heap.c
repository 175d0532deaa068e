/* SPDX-License-Identifier: MIT */
/*
 * fuzz_heap.c - the walkers of heaps: an input is a list of changes to a good
 * core, which the environment variable FUZZ_CORE names.
 *
 * A change is 12 bytes: which of the core's words that are not 0, how, and a
 * value.  Words that are 0 are mostly the program's unused memory; the others
 * are the heap's structures often enough.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHANGE_SIZE 12
#define CHANGES_MAX 64

enum change { CHANGE_SET, CHANGE_XOR, CHANGE_COPY, CHANGE_ADD, CHANGE_KINDS };

struct word { /* of the core that was changed */
    size_t at;
    uint64_t old;
};

static struct memory_file file;
static size_t *words; /* offsets of those that are not 0 */
static size_t word_count;

static uint64_t
get(size_t at)
{
    uint64_t value;
    memcpy(&value, file.data + at, sizeof(value));
    return value;
}

static void
put(size_t at, uint64_t value)
{
    memcpy(file.data + at, &value, sizeof(value));
}

/* Once: the core, and its words. */
static void
load(void)
{
    const char *path = getenv("FUZZ_CORE");
    struct stat st;
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) != 0) {
        fputs("fuzz_heap: FUZZ_CORE names no core\n", stderr);
        exit(2);
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    words = malloc(size / sizeof(uint64_t) * sizeof(*words));
    if (data == MAP_FAILED || words == NULL)
        abort();
    memory_file_set(&file, data, size);
    munmap(data, size);
    close(fd);
    /* Behind the headers, which are the other target's. */
    for (size_t at = 0x1000; at + sizeof(uint64_t) <= size; at += sizeof(uint64_t))
        if (get(at) != 0)
            words[word_count++] = at;
    if (word_count == 0)
        exit(2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct word changed[CHANGES_MAX];
    size_t count = 0;

    if (words == NULL)
        load();
    for (; size >= CHANGE_SIZE && count < CHANGES_MAX; size -= CHANGE_SIZE, data += CHANGE_SIZE) {
        uint32_t which;
        uint64_t value;
        memcpy(&which, data, sizeof(which));
        memcpy(&value, data + sizeof(which), sizeof(value));
        size_t at = words[(which / CHANGE_KINDS) % word_count];
        changed[count++] = (struct word){at, get(at)};
        switch ((enum change)(which % CHANGE_KINDS)) {
        case CHANGE_SET:
            put(at, value);
            break;
        case CHANGE_XOR:
            put(at, get(at) ^ value);
            break;
        case CHANGE_COPY:
            put(at, get(words[value % word_count]));
            break;
        default:
            put(at, get(at) + (uint64_t)((int64_t)(value % 8192) - 4096));
        }
    }
    look_at_core(file.path, 1);
    while (count-- > 0)
        put(changed[count].at, changed[count].old);
    return 0;
}
