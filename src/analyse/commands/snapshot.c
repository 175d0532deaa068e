/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - umem snapshot: the memory of a process as it is now, in a file
 * that every other verb takes for a target.
 */
#include "commands/snapshot.h"
#include "commands/commands.h"

#include <stdio.h>

#include "heap/heap.h"
#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"

#define FILE_NAME_MAX 64
#define NS_PER_MS 1e6

static void
tell(const struct command_options *options, const char *verb, const char *file,
     const struct dump_result *result, const char *target)
{
    double stopped_ms = (double)result->dmp_stopped_ns / NS_PER_MS;

    if (options->opt_format == FORMAT_JSON) {
        json_t *out = json_object();
        json_set_text(out, "file", file);
        json_set_count(out, "memory_bytes", result->dmp_memory);
        json_set_count(out, "file_bytes", result->dmp_file_size);
        json_set_count(out, "segments", result->dmp_segments);
        json_object_set_new(out, "stopped_ms", json_real(stopped_ms));
        json_finish(out);
        return;
    }
    printf("%s: a %s of %s, %s of memory; it was stopped for %.1f ms\n", file, verb, target,
           format_size(result->dmp_memory).s, stopped_ms);
}

/* Of a process that is looked at. */
static int
take_of(struct target *t, const struct snapshot_verb *verb, struct dump_options *dump, char *who,
        size_t size, struct dump_result *result)
{
    if (!target_is_live(t))
        return command_error("%s: %s is a file already; give the number of a process",
                             verb->verb_name, target_name(t));
    dump->dmp_copy = heap_copy_fits(t);
    if (!target_dump(t, dump, result))
        return COMMAND_TROUBLE;
    target_describe(t, who, size);
    return COMMAND_CLEAN;
}

static int
take(const struct snapshot_verb *verb, const struct command_options *options, const char *file)
{
    char name[FILE_NAME_MAX], who[512];
    const char *pid = options->opt_argv[0];
    struct dump_result result = {0};
    int code = COMMAND_TROUBLE;

    snprintf(name, sizeof(name), "%s.%.16s", verb->verb_name, pid);
    struct dump_options dump = {.dmp_path = file != NULL ? file : name, .dmp_all = verb->verb_all};
    if (options->opt_self) {
        snprintf(who, sizeof(who), "process %s by itself", pid);
        code = target_dump_self(pid, &dump, &result) ? COMMAND_CLEAN : COMMAND_TROUBLE;
    } else {
        struct target *t = target_open(pid, &(struct target_options){.opt_process = true});
        if (t != NULL)
            code = take_of(t, verb, &dump, who, sizeof(who), &result);
        target_close(t);
    }
    if (code == COMMAND_CLEAN)
        tell(options, verb->verb_name, dump.dmp_path, &result, who);
    return code;
}

int
snapshot_command(const struct snapshot_verb *verb, int argc, char **argv)
{
    const char *file = NULL;
    const struct option_row rows[] = {
        {"output", 'o', OPTION_STRING, &file, "FILE", verb->verb_output, NULL}, {0}};
    const struct command_spec spec = {.cmd_name = verb->verb_name,
                                      .cmd_usage = "PID",
                                      .cmd_summary = verb->verb_summary,
                                      .cmd_description = verb->verb_description,
                                      .cmd_rows = rows,
                                      .cmd_shared = SHARED_FORMAT | SHARED_SELF,
                                      .cmd_min_args = 1,
                                      .cmd_max_args = 1};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    return code != OPTIONS_GO ? code : take(verb, &options, file);
}

int
command_snapshot(int argc, char **argv)
{
    static const struct snapshot_verb snapshot = {
        .verb_name = "snapshot",
        .verb_output = "where to (./snapshot.PID)",
        .verb_summary = "Keep the memory of a process as it is now, for other verbs to look at",
        .verb_description =
            "The process is stopped while the kernel copies it. The file is a core file that\n"
            "leaves out what the analyser does not need; it is TARGET for the other verbs, which\n"
            "also know the time that it was taken at, and the names of its mappings.\n"};

    return snapshot_command(&snapshot, argc, argv);
}
