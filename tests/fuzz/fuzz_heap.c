/* SPDX-License-Identifier: MIT */
/*
 * fuzz_heap.c - the walkers of heaps: an input says which of some good cores is
 * looked at, what is asked of it, and how it was changed before.  FUZZ_CORES
 * names the cores, with colons between.
 *
 * Eight bytes are the question: core, kind, which of a kind (2 bytes), and which
 * of the core's words is the address that it is about (4 bytes).  Then come
 * changes of 12 bytes: which word and how (4 bytes), and a value.  Words count
 * that are not 0: those that are 0 are mostly the program's unused memory, the
 * others often enough structures of the heap.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUESTION_SIZE 8
#define CHANGE_SIZE 12
#define CHANGES_MAX 64
#define CORES_MAX 16
/* In front of the words: the core's headers, which are the other target's. */
#define HEADERS_SIZE 0x1000

enum change { CHANGE_SET, CHANGE_XOR, CHANGE_COPY, CHANGE_ADD, CHANGE_KINDS };

struct word { /* of the core that was changed */
    size_t at;
    uint64_t old;
};

struct core {
    uint8_t *data;
    size_t size;
    size_t *words; /* offsets of those that are not 0 */
    size_t word_count;
};

static struct core cores[CORES_MAX];
static size_t core_count;

static uint64_t
get(const struct core *core, size_t at)
{
    uint64_t value;
    memcpy(&value, core->data + at, sizeof(value));
    return value;
}

static void
put(const struct core *core, size_t at, uint64_t value)
{
    memcpy(core->data + at, &value, sizeof(value));
}

static void
load(const char *path)
{
    struct core *core = &cores[core_count++];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        fprintf(stderr, "fuzz_heap: %s of FUZZ_CORES is no core\n", path);
        exit(2);
    }
    core->size = (size_t)st.st_size;
    core->data = mmap(NULL, core->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    close(fd);
    core->words = malloc(core->size / sizeof(uint64_t) * sizeof(*core->words));
    if (core->data == MAP_FAILED || core->words == NULL)
        abort();
    for (size_t at = HEADERS_SIZE; at + sizeof(uint64_t) <= core->size; at += sizeof(uint64_t))
        if (get(core, at) != 0)
            core->words[core->word_count++] = at;
    if (core->word_count == 0)
        exit(2);
}

static void
load_all(void)
{
    const char *names = getenv("FUZZ_CORES");
    char *list = strdup(names != NULL ? names : "");
    for (char *rest = list, *path; core_count < CORES_MAX && (path = strsep(&rest, ":")) != NULL;)
        load(path);
    free(list);
}

/* Makes one change; where and what was there. */
static struct word
change(const struct core *core, const uint8_t *data)
{
    uint32_t which;
    uint64_t value;
    memcpy(&which, data, sizeof(which));
    memcpy(&value, data + sizeof(which), sizeof(value));
    size_t at = core->words[(which / CHANGE_KINDS) % core->word_count];
    const struct word word = {at, get(core, at)};
    switch ((enum change)(which % CHANGE_KINDS)) {
    case CHANGE_SET:
        put(core, at, value);
        break;
    case CHANGE_XOR:
        put(core, at, word.old ^ value);
        break;
    case CHANGE_COPY:
        put(core, at, get(core, core->words[value % core->word_count]));
        break;
    default:
        put(core, at, word.old + (uint64_t)((int64_t)(value % 8192) - 4096));
    }
    return word;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct word changed[CHANGES_MAX];
    size_t count = 0;
    uint16_t which;
    uint32_t word;

    if (core_count == 0)
        load_all();
    if (size < QUESTION_SIZE)
        return 0;
    const struct core *core = &cores[data[0] % core_count];
    memcpy(&which, data + 2, sizeof(which));
    memcpy(&word, data + 4, sizeof(word));
    const struct question question = {
        .qu_kind = data[1],
        .qu_which = which,
        .qu_addr = get(core, core->words[word % core->word_count]),
    };
    for (data += QUESTION_SIZE, size -= QUESTION_SIZE; size >= CHANGE_SIZE && count < CHANGES_MAX;
         size -= CHANGE_SIZE, data += CHANGE_SIZE)
        changed[count++] = change(core, data);
    look_at_heap(core->data, core->size, &question);
    while (count-- > 0)
        put(core, changed[count].at, changed[count].old);
    return 0;
}
