/* SPDX-License-Identifier: MIT */
/*
 * whatis.c - umem whatis: what an address belongs to, and who allocated it.
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "heap/memory.h"
#include "look/path.h"
#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"
#include "report/open.h"
#include "report/place.h"

struct teller {
    struct heap *heap;
    struct symboliser *symbols;
    bool color;
};

static void
tell_buffer(const struct teller *t, const struct what *what)
{
    const struct block_info *info = &what->what_info;
    char text[CONTENTS_TEXT_MAX];

    printf("a %sbuffer of %s bytes", info->blk_live ? "" : "free ", format_count(info->blk_size).s);
    if (info->blk_requested != BLOCK_UNKNOWN && info->blk_requested != info->blk_size)
        printf(" (%s requested)", format_count(info->blk_requested).s);
    printf(", %s\n", info->blk_cache);
    if (what->what_note[0] != '\0')
        printf("  %s\n", what->what_note);
    block_history_print(t->heap, t->symbols, info, t->color);
    if (what->what_kind == WHAT_BUFFER || what->what_kind == WHAT_FREE_BUFFER) {
        contents_describe(t->heap, t->symbols, info->blk_addr,
                          info->blk_requested != BLOCK_UNKNOWN && info->blk_requested > 0
                              ? info->blk_requested
                              : info->blk_size,
                          text, sizeof(text));
        printf("  contents  %s\n", text);
    }
    if (freed_contents_describe(t->heap, t->symbols, info, text, sizeof(text)))
        printf("  freed with  %s\n", text);
}

static void
tell_text(const struct teller *t, const struct what *what)
{
    printf("%s0x%" PRIx64 "%s is ", style_bold(t->color), what->what_addr, style_end(t->color));
    if (what->what_kind == WHAT_UNKNOWN) {
        printf("unknown: nothing is mapped there\n");
        return;
    }
    printf("0x%" PRIx64 "+0x%" PRIx64 ", in ", what->what_base, what->what_addr - what->what_base);
    if (what->what_kind == WHAT_GUARD)
        printf("the guard of ");
    if (what->what_has_info) {
        tell_buffer(t, what);
        return;
    }
    printf("a %s of %s bytes\n",
           what->what_kind == WHAT_GUARD ? "stack, which is" : place_kind_name(what->what_kind),
           format_count(what->what_size).s);
    if (what->what_note[0] != '\0')
        printf("  %s\n", what->what_note);
}

static json_t *
tell_json(const struct teller *t, const struct what *what)
{
    const struct block_info *info = what->what_has_info ? &what->what_info : NULL;
    bool known = what->what_kind != WHAT_UNKNOWN;
    json_t *out = json_object();

    json_object_set_new(out, "address", json_hex(what->what_addr));
    json_object_set_new(out, "kind", json_string(place_kind_name(what->what_kind)));
    json_object_set_new(out, "base", known ? json_hex(what->what_base) : json_null());
    json_object_set_new(out, "size",
                        known ? json_integer((json_int_t)what->what_size) : json_null());
    json_object_set_new(out, "offset",
                        known ? json_integer((json_int_t)(what->what_addr - what->what_base))
                              : json_null());
    json_object_set_new(out, "cache", info != NULL ? json_string(info->blk_cache) : json_null());
    json_object_set_new(out, "requested",
                        info != NULL && info->blk_requested != BLOCK_UNKNOWN
                            ? json_integer((json_int_t)info->blk_requested)
                            : json_null());
    block_history_json(t->heap, t->symbols, info, out);
    char freed[CONTENTS_TEXT_MAX];
    if (info != NULL && freed_contents_describe(t->heap, t->symbols, info, freed, sizeof(freed)))
        json_set_text(out, "freed_contents", freed);
    if (what->what_thread != 0)
        json_object_set_new(out, "thread", json_integer(what->what_thread));
    json_object_set_new(out, "note",
                        what->what_note[0] != '\0' ? json_string(what->what_note) : json_null());
    return out;
}

/* Where the pointer of a step lies: "data of prog, table+0x10", "umem_alloc_64+0x8 in ...". */
static void
describe_step(const struct teller *t, const struct path *path, size_t i, char *out, size_t size)
{
    const struct path_step *step = &path->path_steps[i];
    struct block_info info;

    if (step->step_at == 0) {
        snprintf(out, size, "a register of thread %d", (int)path->path_thread);
    } else if (i == 0 && path->path_root == ROOT_STACK) {
        snprintf(out, size, "stack of thread %d", (int)path->path_thread);
    } else if (i == 0 && path->path_root == ROOT_TLS) {
        snprintf(out, size, "thread-local storage of thread %d", (int)path->path_thread);
    } else if (i == 0) {
        place_describe(t->heap, step->step_at, out, size);
    } else {
        heap_block_info(t->heap, path->path_steps[i - 1].step_block, &info);
        snprintf(out, size, "%s+0x%" PRIx64 " in buffer 0x%" PRIx64, info.blk_cache,
                 step->step_at - info.blk_addr, info.blk_addr);
    }
}

static const char no_path[] =
    "no root leads to it: it is leaked, or held in a way that is not seen";

static void
tell_path(const struct teller *t, const struct path *path)
{
    char place[PLACE_TEXT_MAX];

    if (path->path_count == 0) {
        printf("  %s\n", no_path);
        return;
    }
    printf("  held by\n");
    for (size_t i = 0; i < path->path_count; i++) {
        const struct path_step *step = &path->path_steps[i];
        describe_step(t, path, i, place, sizeof(place));
        printf("    0x%-14" PRIx64 "-> 0x%" PRIx64 "  %s\n", step->step_at, step->step_value,
               place);
    }
}

static json_t *
path_json(const struct teller *t, const struct path *path)
{
    json_t *steps = json_array();

    for (size_t i = 0; i < path->path_count; i++) {
        const struct path_step *step = &path->path_steps[i];
        char place[PLACE_TEXT_MAX];
        json_t *out = json_object();
        describe_step(t, path, i, place, sizeof(place));
        json_object_set_new(out, "address",
                            step->step_at != 0 ? json_hex(step->step_at) : json_null());
        json_set_hex(out, "value", step->step_value);
        json_set_hex(out, "buffer", heap_block_addr(t->heap, step->step_block));
        json_set_text(out, "place", place);
        json_array_append_new(steps, out);
    }
    return steps;
}

/* Tells of one address, in text or as an object in list; search may be NULL. */
static bool
tell_one(const struct teller *t, const struct what *what, struct path_search *search, json_t *list)
{
    bool block = what->what_has_info && what->what_info.blk_live;
    struct path path = {0};
    json_t *out = list != NULL ? tell_json(t, what) : NULL;

    if (list == NULL)
        tell_text(t, what);
    if (search != NULL && block) {
        if (path_find(search, what->what_addr, &path) == PATH_FAILED) {
            json_decref(out);
            return false;
        }
        if (list == NULL)
            tell_path(t, &path);
        else
            json_object_set_new(out, "path", path_json(t, &path));
        path_fini(&path);
    }
    if (list != NULL)
        json_array_append_new(list, out);
    return true;
}

/* All of it is asked before the search for paths makes blocks of mappings. */
static struct what *
ask_all(struct heap *h, const struct command_options *options, size_t count)
{
    struct what *whats = memory_zeroed(count, sizeof(*whats));

    for (size_t i = 0; whats != NULL && i < count; i++) {
        addr_t addr = 0;
        (void)command_address(options->opt_argv[i + 1], &addr);
        whatis(h, addr, &whats[i]);
    }
    return whats;
}

/* One address: its object; several: an array of them. */
static int
look_at(const struct look *look, void *arg)
{
    const bool *paths = arg;
    const struct command_options *options = look->look_options;
    const struct teller t = {look->look_heap, look->look_symbols, options->opt_color};
    size_t count = (size_t)options->opt_argc - 1;
    json_t *list = options->opt_format == FORMAT_JSON ? json_array() : NULL;
    struct what *whats = ask_all(look->look_heap, options, count);
    struct path_search search = {0};
    bool ok = whats != NULL && (!*paths || path_begin(look->look_heap, &search) == 0);

    if (list == NULL)
        incomplete_print(look->look_heap, options->opt_color);
    for (size_t i = 0; ok && i < count; i++)
        ok = tell_one(&t, &whats[i], *paths ? &search : NULL, list);
    path_end(&search);
    free(whats);
    if (ok && list != NULL)
        json_finish(json_incref(count == 1 ? json_array_get(list, 0) : list));
    json_decref(list);
    return ok ? COMMAND_CLEAN : command_error("whatis: not enough memory");
}

int
command_whatis(int argc, char **argv)
{
    bool paths = false;
    const struct option_row rows[] = {
        {"path", 'p', OPTION_FLAG, &paths, NULL,
         "also why a live buffer is still reachable: the pointers that lead to it", NULL},
        {0}};
    const struct command_spec spec = {
        .cmd_name = "whatis",
        .cmd_usage = "TARGET ADDR...",
        .cmd_summary = "Tell what an address belongs to, and with audit who allocated or freed it",
        .cmd_rows = rows,
        .cmd_shared = SHARED_FORMAT | SHARED_EXE | SHARED_COLOR | SHARED_SELF,
        .cmd_min_args = 2,
        .cmd_max_args = -1};
    struct command_options options;
    uint64_t addr;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    for (int i = 1; i < options.opt_argc; i++)
        if (!command_address(options.opt_argv[i], &addr))
            return command_error("whatis: %s: not an address (give hexadecimal: 0x7f00abcd)",
                                 options.opt_argv[i]);
    return report_look("whatis", options.opt_argv[0], &options, OPEN_FORKED, look_at, &paths);
}
