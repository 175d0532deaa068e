/* SPDX-License-Identifier: MIT */
/*
 * reader.h - reads the target's memory without copying where it can.
 *
 * A core is read in place (target_peek).  A live process is stopped, so that
 * what was read once stays true: it is read in lines, which are kept, and a
 * million small reads cost thousands of system calls.
 */
#ifndef ANALYSE_HEAP_READER_H
#define ANALYSE_HEAP_READER_H

#include "heap/offsets.h"

/*
 * 16 KiB: process_vm_readv costs 0.5 to 1 us a call and 0.1 us a KiB, so a
 * line costs little more than a word of it.
 */
#define READER_LINE_SHIFT 14
#define READER_LINE ((size_t)1 << READER_LINE_SHIFT)
/* Lines kept: 512 MiB of a live process at most. */
#define READER_LINES ((size_t)32768)

struct reader_line {
    addr_t line_addr;
    unsigned char *line_data; /* NULL: unused */
    size_t line_size;         /* bytes that could be read, from the start on */
};

struct reader {
    struct target *rd_target;
    bool rd_live;
    struct reader_line *rd_lines; /* live only */
    unsigned char *rd_scratch;    /* what straddles lines, or pieces of a core */
    size_t rd_scratch_size;
};

/* -1: no memory. */
int reader_init(struct reader *rd, struct target *t);
void reader_fini(struct reader *rd);

/*
 * size bytes at addr, or NULL where not all of them can be read.  The pointer
 * holds until the next call.
 */
const void *reader_get(struct reader *rd, addr_t addr, size_t size);
/* The same as a record; rec_data is NULL where it cannot be read. */
struct record reader_record(struct reader *rd, addr_t addr, size_t size);
/* A pointer of word bytes; false where it cannot be read. */
bool reader_word(struct reader *rd, addr_t addr, unsigned word, uint64_t *value);
/*
 * As much of [addr, addr + size) as can be had in one piece at its start, at
 * least one byte, or NULL with *got = 0 for a hole.
 */
const void *reader_some(struct reader *rd, addr_t addr, size_t size, size_t *got);
/*
 * The first piece of [*addr, end), *addr being aligned, in which there may be
 * something: what is known to be zero is passed over, and what cannot be read.
 * *addr is its start then, *got its bytes, whole words of it.  NULL: no more.
 */
const void *reader_next(struct reader *rd, addr_t *addr, addr_t end, unsigned word, size_t *got);
/* From an address without a whole word on, to where one may be read again; aligned to a page. */
addr_t reader_skip(struct reader *rd, addr_t addr);

#endif
