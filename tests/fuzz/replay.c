/* SPDX-License-Identifier: MIT */
/*
 * replay.c - main() of a fuzz target without libFuzzer: runs each file, and
 * each so many times more with bytes changed at random.
 *
 *   fuzz_core [-n CHANGES] [-s SEED] FILE...
 *
 * The same seed changes the same bytes.  What is printed goes nowhere.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHANGED_MAX 8       /* bytes or words at a time */
#define HEAD ((size_t)8192) /* half of the changes are in the front, where a core's tables are */

static uint64_t state;

/* xorshift64 */
static uint64_t
next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void
change(uint8_t *data, size_t size)
{
    static const uint64_t values[] = {0,       1,          UINT64_MAX, 0x7fffffff,
                                      1 << 12, UINT32_MAX, INT64_MAX,  (uint64_t)1 << 47};
    for (uint64_t n = 1 + next_random() % CHANGED_MAX; n > 0; n--) {
        size_t range = next_random() % 2 == 0 && size > HEAD ? HEAD : size;
        size_t at = next_random() % range;
        if (next_random() % 2 == 0) {
            data[at] = (uint8_t)next_random();
        } else if (at + sizeof(uint64_t) <= size) {
            uint64_t value = values[next_random() % (sizeof(values) / sizeof(values[0]))];
            memcpy(data + at, &value, sizeof(value));
        }
    }
}

static int
run(const char *path, unsigned long changes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        return 1;
    }
    size_t size = (size_t)ftell(file);
    uint8_t *data = malloc(size + 1);
    uint8_t *changed = malloc(size + 1);
    rewind(file);
    if (data == NULL || changed == NULL || fread(data, 1, size, file) != size)
        abort();
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    for (unsigned long i = 0; i < changes && size > 0; i++) {
        memcpy(changed, data, size);
        change(changed, size);
        size_t cut = next_random() % 8 == 0 ? next_random() % size : size;
        LLVMFuzzerTestOneInput(changed, cut);
    }
    free(data);
    free(changed);
    return 0;
}

int
main(int argc, char **argv)
{
    unsigned long changes = 0;
    int option;
    int code = 0;
    state = 1;
    while ((option = getopt(argc, argv, "n:s:")) != -1) {
        if (option == 'n')
            changes = strtoul(optarg, NULL, 10);
        else if (option == 's')
            state = strtoul(optarg, NULL, 10) | 1;
        else
            return 2;
    }
    if (freopen("/dev/null", "w", stdout) == NULL)
        return 2;
    for (int i = optind; i < argc; i++)
        code |= run(argv[i], changes);
    return code;
}
