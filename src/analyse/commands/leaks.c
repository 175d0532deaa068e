/* SPDX-License-Identifier: MIT */
/*
 * leaks.c - umem leaks: finds what nothing points to any more.
 *
 * Order: open, copy a live process and let it run on, read the heap, mark,
 * report.  umem run --leaks makes the same search of its program.
 */
#include "commands/leaks.h"
#include "commands/commands.h"
#include "heap/heap.h"
#include "report/leak_report.h"
#include "report/open.h"
#include "report/progress.h"

#include <stdlib.h>

static const char description[] =
    "A block is leaked when no root leads to it: no register, stack, thread-local or static\n"
    "variable of the program, and no block that can be reached from one. Direct leaks are\n"
    "those that no other leaked block points to; the indirect ones hang on them.\n"
    "A live process is stopped for some milliseconds, while it is copied.\n"
    "Exit code: 0 no leaks, 1 leaks, 2 the target could not be read.\n";

struct arguments {
    struct leak_options find;
    size_t min_bytes;
    size_t since;
    struct option_list files;
    struct command_options common;
};

static int
parse(struct arguments *args, int argc, char **argv)
{
    const struct option_row rows[] = {
        {"cache", 0, OPTION_STRING, &args->find.opt_cache, "NAME",
         "only blocks of this cache, say umem_alloc_64", NULL},
        {"min-bytes", 0, OPTION_SIZE, &args->min_bytes, "SIZE",
         "only groups that leak this much together", NULL},
        SINCE_ROW(&args->since),
        {"possible", 0, OPTION_FLAG, &args->find.opt_possible, NULL,
         "also blocks that only pointers into their middle lead to", NULL},
        {"mappings", 0, OPTION_FLAG, &args->find.opt_mappings, NULL,
         "also mappings of the program's own that nothing leads to", NULL},
        SUPPRESSIONS_ROW(&args->files),
        {0}};
    const struct command_spec spec = {.cmd_name = "leaks",
                                      .cmd_usage = "TARGET",
                                      .cmd_summary = "Find memory that nothing points to any more",
                                      .cmd_description = description,
                                      .cmd_rows = rows,
                                      .cmd_shared = SHARED_TARGET,
                                      .cmd_min_args = 1,
                                      .cmd_max_args = 1};
    int code = options_parse(&spec, argc, argv, &args->common);
    args->find.opt_min_bytes = args->min_bytes;
    args->find.opt_since = args->since;
    args->find.opt_addresses = args->common.opt_max;
    return code;
}

struct looking {
    struct heap *heap;
    struct progress progress;
};

static void
tell_progress(void *arg, uint64_t scanned)
{
    struct looking *looking = arg;
    progress_update(&looking->progress, scanned, looking->heap->heap_live_bytes);
}

static int
report(struct heap *h, const struct leaks *leaks, const struct command_options *options)
{
    struct leak_report rep = {h, leaks, symboliser_create(h->heap_target), options};
    if (rep.rep_symbols == NULL)
        return command_error("leaks: no memory");
    if (options->opt_format == FORMAT_JSON)
        leak_report_json(&rep);
    else
        leak_report_text(&rep);
    symboliser_destroy(rep.rep_symbols);
    /* Blocks held by inner pointers only are no reason to fail a build: they are held. */
    bool certain = leaks->lks_kind_count[LEAK_DIRECT] + leaks->lks_kind_count[LEAK_INDIRECT] > 0;
    bool doubtful = !heap_is_complete(h) && leaks->lks_kind_count[LEAK_POSSIBLE] > 0;
    return certain || doubtful ? COMMAND_FOUND : COMMAND_CLEAN;
}

int
leaks_open(const char *verb, const char *target, const struct leak_options *find,
           const struct command_options *options, struct heap *h, struct leaks *leaks)
{
    struct leak_options search = *find;
    /* cppcheck-suppress ctuuninitvar; it is for report_open() to fill */
    struct looking looking = {h, {0}};
    const char *why;

    *leaks = (struct leaks){0};
    enum heap_read status = report_open(verb, target, options, OPEN_COPIED, h, &why);
    if (status == HEAP_FAILED)
        return COMMAND_TROUBLE;
    if (status == HEAP_OK && !report_has_cache(verb, h, search.opt_cache)) {
        report_close(h);
        return COMMAND_TROUBLE;
    }
    progress_begin(&looking.progress, "looking for leaks");
    if (search.opt_since != 0)
        search.opt_after = heap_after(h, search.opt_since);
    search.opt_progress = tell_progress;
    search.opt_progress_arg = &looking;
    bool failed = status == HEAP_OK && leaks_find(h, &search, leaks) != 0;
    progress_end(&looking.progress);
    if (!failed)
        return COMMAND_CLEAN;
    leaks_fini(leaks);
    report_close(h);
    return command_error("%s %s: not enough memory", verb, target);
}

int
leaks_search(const char *verb, const char *target, const struct leak_options *find,
             const struct command_options *options)
{
    struct heap h;
    struct leaks leaks;
    int code = leaks_open(verb, target, find, options, &h, &leaks);

    if (code != COMMAND_CLEAN)
        return code;
    code = report(&h, &leaks, options);
    leaks_fini(&leaks);
    report_close(&h);
    return code;
}

bool
leaks_read_suppressions(const char *verb, struct option_list *files, struct suppressions *s)
{
    char why[512];
    bool ok = true;

    for (size_t i = 0; ok && i < files->list_count; i++)
        ok = suppressions_read(s, files->list_items[i], why, sizeof(why));
    free(files->list_items);
    *files = (struct option_list){0};
    if (!ok) {
        command_error("%s: %s", verb, why);
        suppressions_fini(s);
    }
    return ok;
}

int
command_leaks(int argc, char **argv)
{
    struct arguments args = {0};
    struct suppressions suppressions = {0};
    int code = parse(&args, argc, argv);

    if (code != OPTIONS_GO)
        return code;
    if (!leaks_read_suppressions("leaks", &args.files, &suppressions))
        return COMMAND_TROUBLE;
    args.find.opt_suppressions = &suppressions;
    code = leaks_search("leaks", args.common.opt_argv[0], &args.find, &args.common);
    suppressions_fini(&suppressions);
    return code;
}
