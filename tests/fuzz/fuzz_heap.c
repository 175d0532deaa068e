/* SPDX-License-Identifier: MIT */
/*
 * fuzz_heap.c - the walkers of heaps: an input says which of some good cores is
 * looked at, what is asked of it, and how its memory was changed before.
 * FUZZ_CORES names the cores, with colons between.
 *
 * Eight bytes are the question: core, number of changes, which question (2
 * bytes), and which of the core's words is the address that it is about (4
 * bytes).  Then come the changes, of 12 bytes each: which word and how (4
 * bytes), and a value.  What is left is the line of a question that is free.
 *
 * Only words of writable memory that are not 0 are changed: those that are 0 are
 * mostly the program's unused memory, the others often enough structures of the
 * heap.  Headers and notes are the other target's; so a core is opened once.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target/target_impl.h"

#define QUESTION_SIZE 8
#define CHANGE_SIZE 12
#define CHANGES_MAX 64
#define CORES_MAX 16
#define LINE_MAX_BYTES 256
#define ZERO_PIECE ((size_t)4096)

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
    struct target *target;
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
map_core(struct core *core, const char *path)
{
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
}

/* As a file's holes would be: what is zero need not be looked at. */
static void
note_zeroes(struct target *t, const struct segment *seg)
{
    static const unsigned char zeroes[ZERO_PIECE];
    addr_t end = seg->seg_start;
    for (addr_t at = end; at < seg->seg_end; at = end) {
        size_t n = seg->seg_end - at < ZERO_PIECE ? (size_t)(seg->seg_end - at) : ZERO_PIECE;
        end = at + n;
        if (memcmp(seg->seg_data + (at - seg->seg_start), zeroes, n) != 0)
            continue;
        while (end < seg->seg_end && seg->seg_data[end - seg->seg_start] == 0)
            end++;
        zeroes_add(t, at, end);
    }
}

static void
note_words(struct core *core, const struct segment *seg)
{
    const struct mapping *map = target_mapping_of(core->target, seg->seg_start);
    size_t at = (size_t)(seg->seg_data - core->data);
    size_t end = at + (size_t)(seg->seg_end - seg->seg_start);
    if (at >= core->size || map == NULL || (map->map_flags & MAPPING_WRITE) == 0)
        return;
    for (; at + sizeof(uint64_t) <= end; at += sizeof(uint64_t))
        if (get(core, at) != 0)
            core->words[core->word_count++] = at;
}

static void
load(const char *path)
{
    struct core *core = &cores[core_count++];
    map_core(core, path);
    struct target *t = core->target = fuzz_open(core->data, core->size);
    for (size_t i = 0; t != NULL && i < t->t_segment_count; i++) {
        note_words(core, &t->t_segments[i]);
        note_zeroes(t, &t->t_segments[i]);
    }
    if (core->word_count == 0) {
        fprintf(stderr, "fuzz_heap: %s of FUZZ_CORES has no memory\n", path);
        exit(2);
    }
    zeroes_sort(t);
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
    char line[LINE_MAX_BYTES];
    size_t count = 0;
    uint16_t which;
    uint32_t word;

    if (core_count == 0)
        load_all();
    if (size < QUESTION_SIZE || core_count == 0)
        return 0;
    const struct core *core = &cores[data[0] % core_count];
    const size_t changes = data[1] % (CHANGES_MAX + 1);
    memcpy(&which, data + 2, sizeof(which));
    memcpy(&word, data + 4, sizeof(word));
    for (data += QUESTION_SIZE, size -= QUESTION_SIZE; size >= CHANGE_SIZE && count < changes;
         size -= CHANGE_SIZE, data += CHANGE_SIZE)
        changed[count++] = change(core, data);
    snprintf(line, sizeof(line), "%.*s", (int)(size < sizeof(line) ? size : sizeof(line) - 1),
             (const char *)data);
    const struct question question = {
        .qu_which = which,
        .qu_addr = get(core, core->words[word % core->word_count]),
        .qu_line = line,
    };
    ask(core->target, &question);
    while (count-- > 0)
        put(core, changed[count].at, changed[count].old);
    return 0;
}
