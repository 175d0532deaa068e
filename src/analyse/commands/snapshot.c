/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - umem snapshot: the memory of a process as it is now, in a file
 * that every other verb takes for a target.
 */
#include "commands/snapshot.h"
#include "commands/commands.h"

#include <stdio.h>
#include <string.h>

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

int
snapshot_take(const char *verb, const struct command_options *options, const char *file)
{
    struct target *t = target_open(options->opt_argv[0], &(struct target_options){0});
    char name[FILE_NAME_MAX], target[512];
    struct dump_result result;
    int code = COMMAND_TROUBLE;

    if (t == NULL)
        return COMMAND_TROUBLE;
    if (!target_is_live(t)) {
        code = command_error("umem %s: %s is a file already; give the number of a process", verb,
                             target_name(t));
        target_close(t);
        return code;
    }
    snprintf(name, sizeof(name), "%s.%d", verb, (int)target_pid(t));
    const struct dump_options dump = {.dmp_path = file != NULL ? file : name,
                                      .dmp_copy = heap_copy_fits(t),
                                      .dmp_all = strcmp(verb, "core") == 0};
    if (target_dump(t, &dump, &result)) {
        target_describe(t, target, sizeof(target));
        tell(options, verb, dump.dmp_path, &result, target);
        code = COMMAND_CLEAN;
    }
    target_close(t);
    return code;
}

int
command_snapshot(int argc, char **argv)
{
    const char *file = NULL;
    const struct option_row rows[] = {
        {"output", 'o', OPTION_STRING, &file, "FILE", "where to (./snapshot.PID)", NULL}, {0}};
    const struct command_spec spec = {
        .cmd_name = "snapshot",
        .cmd_usage = "PID",
        .cmd_summary = "Keep the memory of a process as it is now, for other verbs to look at",
        .cmd_description =
            "The process is stopped while the kernel copies it. The file is a core file that\n"
            "leaves out what the analyser does not need; it is TARGET for the other verbs, which\n"
            "also know the time that it was taken at, and the names of its mappings.\n",
        .cmd_rows = rows,
        .cmd_shared = SHARED_FORMAT,
        .cmd_min_args = 1,
        .cmd_max_args = 1};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    return code != OPTIONS_GO ? code : snapshot_take("snapshot", &options, file);
}
