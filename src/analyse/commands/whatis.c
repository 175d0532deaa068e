/* SPDX-License-Identifier: MIT */
/*
 * whatis.c - umem whatis: what an address belongs to, and who allocated it.
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
    if (what->what_thread != 0)
        json_object_set_new(out, "thread", json_integer(what->what_thread));
    json_object_set_new(out, "note",
                        what->what_note[0] != '\0' ? json_string(what->what_note) : json_null());
    return out;
}

/* One address: its object; several: an array of them. */
static int
tell_all(const struct teller *t, const struct command_options *options)
{
    json_t *list = json_array();
    int count = options->opt_argc - 1;

    for (int i = 1; i <= count; i++) {
        struct what what;
        addr_t addr;
        if (!command_address(options->opt_argv[i], &addr)) {
            json_decref(list);
            return command_error("umem whatis: %s: not an address (give hexadecimal: 0x7f00abcd)",
                                 options->opt_argv[i]);
        }
        whatis(t->heap, addr, &what);
        if (options->opt_format == FORMAT_JSON)
            json_array_append_new(list, tell_json(t, &what));
        else
            tell_text(t, &what);
    }
    if (options->opt_format == FORMAT_JSON)
        json_finish(json_incref(count == 1 ? json_array_get(list, 0) : list));
    json_decref(list);
    return COMMAND_CLEAN;
}

int
command_whatis(int argc, char **argv)
{
    const struct command_spec spec = {
        .cmd_name = "whatis",
        .cmd_usage = "TARGET ADDR...",
        .cmd_summary = "Tell what an address belongs to, and with audit who allocated or freed it",
        .cmd_shared = SHARED_FORMAT | SHARED_EXE | SHARED_COLOR,
        .cmd_min_args = 2,
        .cmd_max_args = -1};
    struct command_options options;
    struct heap h;
    const char *why;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    enum heap_read status = report_open("whatis", options.opt_argv[0], &options, false, &h, &why);
    if (status == HEAP_FAILED)
        return COMMAND_TROUBLE;
    struct teller t = {&h, symboliser_create(h.heap_target), options.opt_color};
    if (t.symbols == NULL) {
        code = command_error("umem whatis: no memory");
    } else {
        if (options.opt_format == FORMAT_TEXT)
            incomplete_print(&h, options.opt_color);
        code = tell_all(&t, &options);
    }
    symboliser_destroy(t.symbols);
    report_close(&h);
    return code;
}
