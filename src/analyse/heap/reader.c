/* SPDX-License-Identifier: MIT */
/*
 * reader.c - see reader.h.
 */
#include "heap/reader.h"

#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"

/* Records and blocks that are asked for whole are smaller than this, or the target is damaged. */
#define SCRATCH_MAX ((size_t)64 << 20)
/* reader_some() copies at most this much at a time. */
#define PIECE ((size_t)256 << 10)
/* Holes have page granularity at least. */
#define PAGE ((addr_t)4096)

int
reader_init(struct reader *rd, struct target *t)
{
    *rd = (struct reader){.rd_target = t, .rd_live = target_is_live(t)};
    if (rd->rd_live)
        rd->rd_lines = calloc(READER_LINES, sizeof(*rd->rd_lines));
    return !rd->rd_live || rd->rd_lines != NULL ? 0 : -1;
}

void
reader_fini(struct reader *rd)
{
    for (size_t i = 0; rd->rd_lines != NULL && i < READER_LINES; i++)
        free(rd->rd_lines[i].line_data);
    free(rd->rd_lines);
    free(rd->rd_scratch);
    *rd = (struct reader){0};
}

/* Room to copy to: of a core most reads need none. */
static bool
need_scratch(struct reader *rd, size_t size)
{
    if (size < PIECE)
        size = PIECE;
    if (size <= rd->rd_scratch_size)
        return true;
    unsigned char *grown = realloc(rd->rd_scratch, size);
    if (grown == NULL)
        return false;
    rd->rd_scratch = grown;
    rd->rd_scratch_size = size;
    return true;
}

/* Line numbers are spread, or spans of a power of two apart would share slots. */
static size_t
line_slot(addr_t line)
{
    uint64_t n = line >> READER_LINE_SHIFT;
    return (size_t)(n ^ n >> 15 ^ n >> 30) % READER_LINES;
}

static const struct reader_line *
get_line(struct reader *rd, addr_t addr)
{
    addr_t start = addr & ~(addr_t)(READER_LINE - 1);
    struct reader_line *line = &rd->rd_lines[line_slot(start)];

    if (line->line_data == NULL) {
        line->line_data = memory_zeroed(1, READER_LINE);
        if (line->line_data == NULL)
            return NULL;
    } else if (line->line_addr == start) {
        return line;
    }
    line->line_addr = start;
    line->line_size = target_read(rd->rd_target, start, line->line_data, READER_LINE);
    return line;
}

static const void *
peek_line(struct reader *rd, addr_t addr, size_t size)
{
    size_t offset = (size_t)(addr & (READER_LINE - 1));
    if (offset + size > READER_LINE)
        return NULL;
    const struct reader_line *line = get_line(rd, addr);
    if (line == NULL || offset + size > line->line_size)
        return NULL;
    return line->line_data + offset;
}

const void *
reader_get(struct reader *rd, addr_t addr, size_t size)
{
    const void *data = target_peek(rd->rd_target, addr, size);
    if (data == NULL && rd->rd_live)
        data = peek_line(rd, addr, size);
    if (data != NULL)
        return data;
    if (size > SCRATCH_MAX || !need_scratch(rd, size) ||
        !target_read_exact(rd->rd_target, addr, rd->rd_scratch, size))
        return NULL;
    return rd->rd_scratch;
}

struct record
reader_record(struct reader *rd, addr_t addr, size_t size)
{
    return (struct record){reader_get(rd, addr, size), size, addr};
}

bool
reader_word(struct reader *rd, addr_t addr, unsigned word, uint64_t *value)
{
    struct record rec = reader_record(rd, addr, word);
    *value = record_get(&rec, 0, (struct field){0, word});
    return rec.rec_data != NULL;
}

/* What a line has from addr on. */
static const void *
rest_of_line(struct reader *rd, addr_t addr, size_t size, size_t *got)
{
    size_t offset = (size_t)(addr & (READER_LINE - 1));
    const struct reader_line *line = get_line(rd, addr);

    if (line == NULL || offset >= line->line_size)
        return NULL;
    *got = line->line_size - offset;
    if (*got > size)
        *got = size;
    return line->line_data + offset;
}

const void *
reader_some(struct reader *rd, addr_t addr, size_t size, size_t *got)
{
    const void *data = target_peek(rd->rd_target, addr, size);

    *got = size;
    if (data == NULL && rd->rd_live)
        data = rest_of_line(rd, addr, size, got);
    if (data != NULL)
        return data;
    if (size > PIECE) /* to a page's end, so that no word is cut */
        size = PIECE - (size_t)(addr % PAGE);
    *got = need_scratch(rd, size) ? target_read(rd->rd_target, addr, rd->rd_scratch, size) : 0;
    return *got == 0 ? NULL : rd->rd_scratch;
}

addr_t
reader_skip(struct reader *rd, addr_t addr)
{
    addr_t page = (addr | (PAGE - 1)) + 1;
    addr_t next = target_after_hole(rd->rd_target, page - 1);
    if (page == 0) /* the last one of the address space */
        return ~(addr_t)0;
    return next > page ? next & ~(PAGE - 1) : page;
}

const void *
reader_next(struct reader *rd, addr_t *addr, addr_t end, unsigned word, size_t *got)
{
    addr_t stop;

    while (target_data(rd->rd_target, *addr, end, addr, &stop)) {
        const void *data = NULL;
        if (stop - *addr >= word)
            data = reader_some(rd, *addr, (size_t)(stop - *addr), got);
        if (data != NULL && *got >= word) {
            *got &= ~(size_t)(word - 1);
            return data;
        }
        *addr = stop - *addr < word ? stop : reader_skip(rd, *addr);
    }
    return NULL;
}
