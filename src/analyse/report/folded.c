/* SPDX-License-Identifier: MIT */
/*
 * folded.c - see folded.h.
 */
#include "report/folded.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "heap/memory.h"

struct line {
    const struct symbol **frames; /* innermost first */
    size_t count;
    size_t room;
    bool failed;
    struct symbol unknown[2]; /* site_frames()'s own do not stay */
    size_t unknowns;
};

static void
keep_frame(void *arg, addr_t addr, const struct symbol *symbols, size_t count)
{
    struct line *line = arg;
    if (addr == 0 && line->unknowns < sizeof(line->unknown) / sizeof(line->unknown[0])) {
        line->unknown[line->unknowns] = *symbols;
        symbols = &line->unknown[line->unknowns++];
    }
    for (size_t i = 0; i < count; i++) {
        if (!memory_grow(&line->frames, &line->room, line->count, sizeof(*line->frames))) {
            line->failed = true;
            return;
        }
        line->frames[line->count++] = &symbols[i];
    }
}

/* A name without what separates names; of unknown functions the module's, in brackets. */
static void
print_name(const struct symbol *sym, FILE *out)
{
    const char *name = sym->sym_function;
    if (name[0] == '\0') {
        fprintf(out, "[%s]", sym->sym_module[0] != '\0' ? sym->sym_module : "unknown");
        return;
    }
    for (; *name != '\0'; name++)
        putc(*name == ';' ? ':' : *name == '\n' ? ' ' : *name, out);
}

static uint64_t
value_of(const struct site *site, enum folded_value value)
{
    switch (value) {
    case FOLDED_BYTES:
        return site->site_live.grp_bytes;
    case FOLDED_OBJECTS:
        return site->site_live.grp_count;
    case FOLDED_LEAKED_BYTES:
        return site_leaked_bytes(site);
    case FOLDED_LEAKED_OBJECTS:
        return site_leaked(site);
    }
    return 0;
}

bool
folded_write(struct heap *h, struct symboliser *s, const struct sites *sites,
             enum folded_value value, FILE *out)
{
    struct line *line = calloc(1, sizeof(*line));

    for (size_t i = 0; line != NULL && !line->failed && i < sites->count; i++) {
        uint64_t number = value_of(&sites->list[i], value);
        if (number == 0)
            continue;
        line->count = line->unknowns = 0;
        site_frames(h, s, &sites->list[i], keep_frame, line);
        for (size_t k = line->count; k > 0; k--) {
            print_name(line->frames[k - 1], out);
            putc(k > 1 ? ';' : ' ', out);
        }
        fprintf(out, "%" PRIu64 "\n", number);
    }
    bool ok = line != NULL && !line->failed;
    if (!ok)
        errno = ENOMEM;
    if (line != NULL)
        free(line->frames);
    free(line);
    return fflush(out) == 0 && ok && !ferror(out);
}
