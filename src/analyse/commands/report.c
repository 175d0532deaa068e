/* SPDX-License-Identifier: MIT */
/*
 * report.c - umem report: what is in use and what leaks, by allocating stack,
 * as a web page, and as files for other programs to show: pprof profiles and
 * folded stacks.
 *
 * One look at the target serves all files that are asked for.
 */
#include "commands/commands.h"
#include "commands/leaks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report/block_report.h"
#include "report/folded.h"
#include "report/format.h"
#include "report/open.h"
#include "report/page.h"
#include "report/pprof.h"
#include "report/sites.h"

static const char description[] =
    "Looks for leaks, sums up all blocks by the stack that allocated them, and writes that as\n"
    "files, of which at least one is to be named; - is standard output.\n"
    "Without audit nobody knows the stacks: blocks are summed up by cache then.\n"
    "Exit code: 0 written, 2 not, or the target could not be read.\n";

static const struct {
    const char *name;
    enum folded_value value;
} folded_values[] = {{"bytes", FOLDED_BYTES},
                     {"objects", FOLDED_OBJECTS},
                     {"leaked-bytes", FOLDED_LEAKED_BYTES},
                     {"leaked-objects", FOLDED_LEAKED_OBJECTS}};

struct arguments {
    const char *page; /* files, or NULL */
    const char *pprof;
    const char *folded;
    enum folded_value value;
    struct option_list suppressions;
    struct command_options common;
};

struct picture { /* all that a writer needs */
    struct heap heap;
    struct symboliser *symbols;
    struct sites sites;
    enum folded_value value;
    char *page; /* without data, or NULL */
};

typedef bool write_fn(struct picture *p, FILE *out);

static int
set_value(struct arguments *args, const char *name)
{
    for (size_t i = 0; i < sizeof(folded_values) / sizeof(folded_values[0]); i++)
        if (strcmp(name, folded_values[i].name) == 0) {
            args->value = folded_values[i].value;
            return OPTIONS_GO;
        }
    return command_error("report: --value=%s: give bytes, objects, leaked-bytes or leaked-objects",
                         name);
}

static int
parse(struct arguments *args, int argc, char **argv)
{
    const char *value = "bytes";
    const struct option_row rows[] = {
        {"output", 'o', OPTION_STRING, &args->page, "FILE",
         "a web page: flame graph, treemap, tables, in one file", NULL},
        {"pprof", 0, OPTION_STRING, &args->pprof, "FILE",
         "a profile for pprof and its like: in use and leaked, objects and bytes", NULL},
        {"folded", 0, OPTION_STRING, &args->folded, "FILE",
         "folded stacks, for flamegraph.pl and its like", NULL},
        {"value", 0, OPTION_STRING, &value, "WHAT",
         "of folded stacks: bytes, objects, leaked-bytes, leaked-objects (bytes)", NULL},
        SUPPRESSIONS_ROW(&args->suppressions),
        {0}};
    const struct command_spec spec = {
        .cmd_name = "report",
        .cmd_usage = "TARGET",
        .cmd_summary = "Write what is in use and what leaks as a web page or a profile",
        .cmd_description = description,
        .cmd_rows = rows,
        .cmd_shared = SHARED_EXE | SHARED_SELF,
        .cmd_min_args = 1,
        .cmd_max_args = 1};
    int code = options_parse(&spec, argc, argv, &args->common);
    if (code == OPTIONS_GO)
        code = set_value(args, value);
    if (code == OPTIONS_GO && args->page == NULL && args->pprof == NULL && args->folded == NULL)
        code = command_error("report: which file? give -o FILE, --pprof=FILE or --folded=FILE; "
                             "see 'umem report --help'");
    return code;
}

static bool
write_pprof(struct picture *p, FILE *out)
{
    return pprof_write(&p->heap, p->symbols, &p->sites, out);
}

static bool
write_folded(struct picture *p, FILE *out)
{
    return folded_write(&p->heap, p->symbols, &p->sites, p->value, out);
}

static bool
write_page(struct picture *p, FILE *out)
{
    return page_write(p->page, &p->heap, p->symbols, &p->sites, out);
}

static void
tell_written(const struct picture *p, const char *file, long size)
{
    const struct sites *sites = &p->sites;
    printf("%s: %s bytes; %s, %s bytes in use, %s leaked, of %s\n", file,
           format_count((uint64_t)size).s, format_plural(sites->sts_buffers, "buffer", "buffers").s,
           format_count(sites->sts_bytes).s, format_count(sites->sts_leaked_bytes).s,
           format_plural(sites->count, "place", "places").s);
}

/* On stderr: stdout may be a file's. */
static void
tell_incomplete(const struct heap *h)
{
    json_t *reasons = incomplete_json(h);
    size_t i;
    json_t *text;
    json_array_foreach(reasons, i, text)
    {
        fprintf(stderr, "umem: report: incomplete: %s\n", json_string_value(text));
    }
    json_decref(reasons);
}

/* What could not be written whole does not stay. */
static bool
write_file(struct picture *p, const char *file, write_fn *fn, long *size)
{
    struct stat st;
    FILE *out = fopen(file, "we");
    if (out == NULL)
        return false;
    bool ok = fn(p, out);
    int error = errno;
    bool regular = fstat(fileno(out), &st) == 0 && S_ISREG(st.st_mode);
    *size = regular ? (long)st.st_size : 0;
    if (fclose(out) != 0 && ok) {
        ok = false;
        error = errno;
    }
    if (!ok && regular)
        unlink(file);
    errno = error;
    return ok;
}

static int
write_one(struct picture *p, const char *file, write_fn *fn)
{
    long size = 0;
    if (file == NULL)
        return COMMAND_CLEAN;
    if (strcmp(file, "-") == 0)
        return fn(p, stdout) ? COMMAND_CLEAN
                             : command_error("report: standard output could not be written; "
                                             "is the disk that it goes to full?");
    if (!write_file(p, file, fn, &size))
        return command_error("report: %s: %s; give another path", file, strerror(errno));
    tell_written(p, file, size);
    return COMMAND_CLEAN;
}

static int
write_all(struct picture *p, const struct arguments *args)
{
    int code = write_one(p, args->page, write_page);
    if (code == COMMAND_CLEAN)
        code = write_one(p, args->pprof, write_pprof);
    if (code == COMMAND_CLEAN)
        code = write_one(p, args->folded, write_folded);
    return code;
}

int
command_report(int argc, char **argv)
{
    struct arguments args = {0};
    struct suppressions suppressions = {0};
    struct picture p = {0};
    struct leaks leaks;
    int code = parse(&args, argc, argv);
    char why[256];

    if (code != OPTIONS_GO)
        return code;
    if (!leaks_read_suppressions("report", &args.suppressions, &suppressions))
        return COMMAND_TROUBLE;
    const struct leak_options find = {.opt_suppressions = &suppressions};
    if (args.page != NULL && (p.page = page_load(why, sizeof(why))) == NULL)
        code = command_error("report: %s", why);
    else
        code = leaks_open("report", args.common.opt_argv[0], &find, &args.common, &p.heap, &leaks);
    if (code == COMMAND_CLEAN) {
        p.value = args.value;
        p.symbols = symboliser_create(p.heap.heap_target);
        if (p.symbols == NULL || !sites_read(&p.heap, &leaks, &p.sites))
            code = command_error("report: not enough memory");
        else
            code = write_all(&p, &args);
        tell_incomplete(&p.heap);
        sites_fini(&p.sites);
        symboliser_destroy(p.symbols);
        leaks_fini(&leaks);
        report_close(&p.heap);
    }
    suppressions_fini(&suppressions);
    free(p.page);
    return code;
}
