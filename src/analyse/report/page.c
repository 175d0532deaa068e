/* SPDX-License-Identifier: MIT */
/*
 * page.c - see page.h.
 *
 * Stacks that begin alike share their beginning: a node is a frame called from
 * another node, and a site is the node that allocates.
 */
#include "report/page.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "heap/memory.h"
#include "report/block_report.h"
#include "report/format.h"
#include "report/intern.h"
#include "report/json.h"

/* Where the page is, from the folder of the executable: installed, or just built. */
static const char *const page_places[] = {"../share/umem/report.html", "page/report.html"};
/* What the data takes the place of. */
static const char data_mark[] = "{\"umem\":\"data\"}";
#define NS_PER_S ((uint64_t)1000000000)

struct frame_key { /* without padding: compared as bytes */
    uint32_t frm_function;
    uint32_t frm_line;
};

struct function_key {
    uint32_t fun_name;
    uint32_t fun_module;
    uint32_t fun_file;
};

struct node_key {
    uint32_t node_caller;
    uint32_t node_frame;
};

struct page {
    struct heap *h;
    struct symboliser *s;
    struct intern strings;
    struct intern functions;
    struct intern frames;
    struct intern nodes; /* numbers + 1 */
    uint32_t *stack;     /* places in frames of the stack at hand, innermost first */
    size_t depth;
    size_t room;
    bool failed;
};

/* --- The page without data --- */

static char *
read_whole(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    long size = file != NULL && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (size >= 0 && fseek(file, 0, SEEK_SET) == 0)
        text = malloc((size_t)size + 1);
    if (text != NULL) {
        size_t got = fread(text, 1, (size_t)size, file);
        text[got] = '\0';
    }
    if (file != NULL)
        fclose(file);
    return text;
}

char *
page_load(char *why, size_t size)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    char *text = NULL;

    exe[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(exe, '/');
    for (size_t i = 0; text == NULL && slash != NULL && i < sizeof(page_places) / sizeof(char *);
         i++) {
        char path[2 * PATH_MAX];
        *slash = '\0';
        snprintf(path, sizeof(path), "%s/%s", exe, page_places[i]);
        text = read_whole(path);
    }
    if (text != NULL && strstr(text, data_mark) != NULL)
        return text;
    snprintf(why, size, "%s",
             text != NULL ? "the page is not part of this umem, since npm could not be had when it "
                            "was built: install npm and build again, or use --pprof"
                          : "report.html is missing where umem is installed (share/umem)");
    free(text);
    return NULL;
}

/* --- Tables --- */

static void
keep_frame(void *arg, addr_t addr, const struct symbol *symbols, size_t count)
{
    struct page *p = arg;
    (void)addr;
    for (size_t i = 0; i < count; i++) {
        const struct symbol *sym = &symbols[i];
        char unknown[300];
        const char *name = sym->sym_function;
        if (name[0] == '\0') {
            snprintf(unknown, sizeof(unknown), "[%s]",
                     sym->sym_module[0] != '\0' ? sym->sym_module : "unknown");
            name = unknown;
        }
        const struct function_key function = {intern_text(&p->strings, name),
                                              intern_text(&p->strings, sym->sym_module),
                                              intern_text(&p->strings, sym->sym_file)};
        const struct frame_key frame = {
            intern_add(&p->functions, &function, sizeof(function), NULL),
            sym->sym_line > 0 ? (uint32_t)sym->sym_line : 0};
        if (!memory_grow(&p->stack, &p->room, p->depth, sizeof(*p->stack))) {
            p->failed = true;
            return;
        }
        p->stack[p->depth++] = intern_add(&p->frames, &frame, sizeof(frame), NULL);
    }
}

static uint32_t
node_of(struct page *p, const struct site *site)
{
    uint32_t node = 0;
    p->depth = 0;
    site_frames(p->h, p->s, site, keep_frame, p);
    for (size_t i = p->depth; i > 0; i--) {
        const struct node_key key = {node, p->stack[i - 1]};
        node = intern_add(&p->nodes, &key, sizeof(key), NULL) + 1;
    }
    return node;
}

static void
append(json_t *list, uint64_t value)
{
    json_array_append_new(list, json_integer((json_int_t)value));
}

/* Keys of so many numbers each, flat. */
static json_t *
numbers_json(const struct intern *table, size_t numbers)
{
    json_t *list = json_array();
    for (size_t i = 0; i < table->int_count; i++) {
        const unsigned char *key = intern_key(table, (uint32_t)i, NULL);
        for (size_t k = 0; k < numbers; k++) {
            uint32_t number;
            memcpy(&number, key + k * sizeof(number), sizeof(number));
            append(list, number);
        }
    }
    return list;
}

/* Names that are no UTF-8 keep their place. */
static json_t *
strings_json(const struct intern *table)
{
    json_t *list = json_array();
    for (size_t i = 0; i < table->int_count; i++) {
        json_t *text = json_string(intern_key(table, (uint32_t)i, NULL));
        json_array_append_new(list, text != NULL ? text : json_string("(no text)"));
    }
    return list;
}

/* --- Data --- */

static int64_t
age_s(struct heap *h, const struct leak_group *live)
{
    uint64_t now = heap_now(h);
    if (!live->grp_audited)
        return -1;
    return now > live->grp_oldest ? (int64_t)((now - live->grp_oldest) / NS_PER_S) : 0;
}

static json_t *
sites_json(struct page *p, const struct sites *sites)
{
    static const char *const names[] = {"node",   "cache",        "buffers", "bytes",
                                        "leaked", "leaked_bytes", "oldest"};
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    json_t *lists[NAMES];
    json_t *out = json_object();

    for (size_t k = 0; k < NAMES; k++)
        json_object_set_new(out, names[k], lists[k] = json_array());
    for (size_t i = 0; i < sites->count; i++) {
        const struct site *site = &sites->list[i];
        append(lists[0], node_of(p, site));
        append(lists[1], intern_text(&p->strings, site->site_cache));
        append(lists[2], site->site_live.grp_count);
        append(lists[3], site->site_live.grp_bytes);
        append(lists[4], site_leaked(site));
        append(lists[5], site_leaked_bytes(site));
        json_array_append_new(lists[6], json_integer(age_s(p->h, &site->site_live)));
    }
    return out;
}

static json_t *
caches_json(struct page *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->h->heap_cache_count; i++) {
        const struct heap_cache *cache = &p->h->heap_caches[i];
        if (cache->cache_total == 0)
            continue;
        json_t *row = json_array();
        append(row, intern_text(&p->strings, cache->cache_name));
        append(row, cache->cache_bufsize);
        append(row, cache->cache_inuse);
        append(row, cache->cache_cached);
        append(row, cache->cache_total);
        append(row, cache->cache_slab_count * cache->cache_slab_size);
        json_array_append_new(list, row);
    }
    return list;
}

static bool
has_stacks(const struct sites *sites)
{
    for (size_t i = 0; i < sites->count; i++)
        if (sites->list[i].site_stack != 0)
            return true;
    return false;
}

static json_t *
data_json(struct page *p, const struct sites *sites)
{
    json_t *out = json_begin(p->h);
    char text[600];
    time_t now = time(NULL);
    struct tm utc;

    target_describe(p->h->heap_target, text, sizeof(text));
    json_set_text(out, "target", text);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_object_set_new(out, "time", json_string(text));
    json_object_set_new(out, "version", json_string(UMEM_VERSION));
    json_object_set_new(out, "audit", json_boolean(has_stacks(sites)));
    json_set_count(out, "buffers", sites->sts_buffers);
    json_set_count(out, "bytes", sites->sts_bytes);
    json_set_count(out, "leaked", sites->sts_leaked);
    json_set_count(out, "leaked_bytes", sites->sts_leaked_bytes);
    json_object_set_new(out, "sites", sites_json(p, sites));
    json_object_set_new(out, "caches", caches_json(p));
    json_object_set_new(out, "nodes", numbers_json(&p->nodes, 2));
    json_object_set_new(out, "frames", numbers_json(&p->frames, 2));
    json_object_set_new(out, "functions", numbers_json(&p->functions, 3));
    json_object_set_new(out, "strings", strings_json(&p->strings));
    return out;
}

/* "<" stands in texts only, where it must not end the script that the data is in. */
static int
print_json(const char *text, size_t size, void *arg)
{
    FILE *out = arg;
    for (size_t i = 0; i < size; i++)
        if (text[i] == '<')
            fputs("\\u003c", out);
        else
            putc(text[i], out);
    return ferror(out) ? -1 : 0;
}

bool
page_write(const char *page, struct heap *h, struct symboliser *s, const struct sites *sites,
           FILE *out)
{
    struct page p = {.h = h, .s = s};
    const char *mark = strstr(page, data_mark);
    json_t *data = data_json(&p, sites);

    bool ok = !p.failed && !p.strings.int_failed && !p.functions.int_failed &&
              !p.frames.int_failed && !p.nodes.int_failed;
    errno = ENOMEM;
    ok = ok && fwrite(page, 1, (size_t)(mark - page), out) == (size_t)(mark - page) &&
         json_dump_callback(data, print_json, out, JSON_COMPACT) == 0 &&
         fputs(mark + strlen(data_mark), out) >= 0 && fflush(out) == 0;
    json_decref(data);
    intern_fini(&p.strings);
    intern_fini(&p.functions);
    intern_fini(&p.frames);
    intern_fini(&p.nodes);
    free(p.stack);
    return ok;
}
