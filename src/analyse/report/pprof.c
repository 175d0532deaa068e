/* SPDX-License-Identifier: MIT */
/*
 * pprof.c - see pprof.h.
 *
 * A location is the address of a call: what was recorded is where it returns
 * to, so one less, which lies in the calling instruction.  Functions that were
 * inlined there are further lines of the same location.
 */
#include "report/pprof.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "report/intern.h"
#include "report/wire.h"

/* Numbers of fields, as profile.proto has them. */
enum profile_field {
    PROFILE_SAMPLE_TYPE = 1,
    PROFILE_SAMPLE = 2,
    PROFILE_MAPPING = 3,
    PROFILE_LOCATION = 4,
    PROFILE_FUNCTION = 5,
    PROFILE_STRING = 6,
    PROFILE_TIME_NANOS = 9,
    PROFILE_PERIOD_TYPE = 11,
    PROFILE_PERIOD = 12,
    PROFILE_COMMENT = 13,
    PROFILE_DEFAULT_TYPE = 14
};
enum value_type_field { VALUE_TYPE = 1, VALUE_UNIT = 2 };
enum sample_field { SAMPLE_LOCATION = 1, SAMPLE_VALUE = 2, SAMPLE_LABEL = 3 };
enum label_field { LABEL_KEY = 1, LABEL_TEXT = 2, LABEL_NUMBER = 3, LABEL_UNIT = 4 };
enum mapping_field {
    MAP_ID = 1,
    MAP_START = 2,
    MAP_LIMIT = 3,
    MAP_OFFSET = 4,
    MAP_FILE = 5,
    MAP_BUILD_ID = 6,
    MAP_HAS_FUNCTIONS = 7,
    MAP_HAS_FILES = 8,
    MAP_HAS_LINES = 9,
    MAP_HAS_INLINED = 10
};
enum location_field {
    LOCATION_ID = 1,
    LOCATION_MAPPING = 2,
    LOCATION_ADDRESS = 3,
    LOCATION_LINE = 4
};
enum line_field { LINE_FUNCTION = 1, LINE_NUMBER = 2 };
enum function_field {
    FUNCTION_ID = 1,
    FUNCTION_NAME = 2,
    FUNCTION_SYSTEM_NAME = 3,
    FUNCTION_FILE = 4
};

#define NS_PER_S 1000000000

struct function_key { /* no padding: compared as bytes */
    uint32_t fun_name;
    uint32_t fun_file;
};

struct writer {
    struct heap *h;
    struct symboliser *s;
    struct wire out;
    struct wire part; /* one message below the top, and one below it */
    struct wire inner;
    struct wire locations; /* of the sample being made: packed numbers */
    struct intern strings;
    struct intern functions; /* by struct function_key; ids are numbers + 1 */
    struct intern addresses; /* of locations; names of those without */
    struct intern mappings;  /* by start address */
};

/* --- Tables --- */

static void
put_value_type(struct writer *w, unsigned field, const char *type, const char *unit)
{
    wire_number(&w->part, VALUE_TYPE, intern_text(&w->strings, type));
    wire_number(&w->part, VALUE_UNIT, intern_text(&w->strings, unit));
    wire_message(&w->out, field, &w->part);
}

static uint64_t
function_id(struct writer *w, const struct symbol *sym)
{
    struct function_key key = {intern_text(&w->strings, sym->sym_function),
                               intern_text(&w->strings, sym->sym_file)};
    bool added;
    uint64_t id = (uint64_t)intern_add(&w->functions, &key, sizeof(key), &added) + 1;
    if (!added)
        return id;
    struct wire function = {0};
    wire_number(&function, FUNCTION_ID, id);
    wire_number(&function, FUNCTION_NAME, key.fun_name);
    wire_number(&function, FUNCTION_SYSTEM_NAME, key.fun_name);
    wire_number(&function, FUNCTION_FILE, key.fun_file);
    wire_message(&w->out, PROFILE_FUNCTION, &function);
    wire_fini(&function);
    return id;
}

/* The mapping that holds a code address, which is written at the end; 0: none. */
static uint64_t
mapping_id(struct writer *w, addr_t addr)
{
    const struct mapping *map = target_mapping_of(w->h->heap_target, addr);
    if (map == NULL)
        return 0;
    return (uint64_t)intern_add(&w->mappings, &map->map_start, sizeof(map->map_start), NULL) + 1;
}

static const struct module *
module_at(const struct target *t, addr_t addr)
{
    const struct module *modules;
    size_t n = target_modules(t, &modules);
    for (size_t i = 0; i < n; i++)
        if (addr >= modules[i].mod_start && addr < modules[i].mod_end)
            return &modules[i];
    return NULL;
}

static void
put_build_id(struct writer *w, struct wire *part, const struct module *mod)
{
    char hex[2 * TARGET_BUILD_ID_MAX + 1] = "";
    for (size_t i = 0; i < mod->mod_build_id_size; i++)
        snprintf(hex + 2 * i, 3, "%02x", mod->mod_build_id[i]);
    wire_number(part, MAP_BUILD_ID, intern_text(&w->strings, hex));
}

static void
put_mappings(struct writer *w)
{
    for (uint32_t i = 0; i < w->mappings.int_count; i++) {
        addr_t start;
        memcpy(&start, intern_key(&w->mappings, i, NULL), sizeof(start));
        const struct mapping *map = target_mapping_of(w->h->heap_target, start);
        const struct module *mod = module_at(w->h->heap_target, start);
        if (map == NULL)
            continue; /* never: it was found by this very table */
        const char *name = mod != NULL ? mod->mod_path : map->map_name;
        wire_number(&w->part, MAP_ID, (uint64_t)i + 1);
        wire_number(&w->part, MAP_START, map->map_start);
        wire_number(&w->part, MAP_LIMIT, map->map_end);
        wire_number(&w->part, MAP_OFFSET, map->map_offset);
        wire_number(&w->part, MAP_FILE, intern_text(&w->strings, name));
        if (mod != NULL)
            put_build_id(w, &w->part, mod);
        /* What we could find out has been: a reader need not look for it again. */
        wire_number(&w->part, MAP_HAS_FUNCTIONS, 1);
        wire_number(&w->part, MAP_HAS_FILES, 1);
        wire_number(&w->part, MAP_HAS_LINES, 1);
        wire_number(&w->part, MAP_HAS_INLINED, 1);
        wire_message(&w->out, PROFILE_MAPPING, &w->part);
    }
}

/* --- Samples --- */

static void
put_lines(struct writer *w, const struct symbol *symbols, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (symbols[i].sym_function[0] == '\0')
            continue; /* the address alone */
        wire_number(&w->inner, LINE_FUNCTION, function_id(w, &symbols[i]));
        wire_number(&w->inner, LINE_NUMBER,
                    symbols[i].sym_line > 0 ? (uint64_t)symbols[i].sym_line : 0);
        wire_message(&w->part, LOCATION_LINE, &w->inner);
    }
}

static void
add_location(void *arg, addr_t addr, const struct symbol *symbols, size_t count)
{
    struct writer *w = arg;
    const void *key = addr != 0 ? (const void *)&addr : symbols[0].sym_function;
    size_t size = addr != 0 ? sizeof(addr) : strlen(symbols[0].sym_function) + 1;
    bool added;
    uint32_t number = intern_add(&w->addresses, key, size, &added);
    uint64_t id = (uint64_t)number + 1;
    wire_packed(&w->locations, id);
    if (!added)
        return;
    wire_number(&w->part, LOCATION_ID, id);
    if (addr != 0) {
        wire_number(&w->part, LOCATION_MAPPING, mapping_id(w, addr - 1));
        wire_number(&w->part, LOCATION_ADDRESS, addr - 1);
    }
    put_lines(w, symbols, count);
    wire_message(&w->out, PROFILE_LOCATION, &w->part);
}

static void
put_label(struct writer *w, const char *key, const char *text, uint64_t number)
{
    wire_number(&w->inner, LABEL_KEY, intern_text(&w->strings, key));
    if (text != NULL) {
        wire_number(&w->inner, LABEL_TEXT, intern_text(&w->strings, text));
    } else {
        wire_number(&w->inner, LABEL_NUMBER, number);
        wire_number(&w->inner, LABEL_UNIT, intern_text(&w->strings, "bytes"));
    }
    wire_message(&w->part, SAMPLE_LABEL, &w->inner);
}

static void
put_sample(struct writer *w, const struct site *site)
{
    static const char *const kind_name[] = {
        [LEAK_DIRECT] = "direct", [LEAK_INDIRECT] = "indirect", [LEAK_POSSIBLE] = "possible"};
    const struct leak_group *live = &site->site_live;
    const uint64_t values[] = {live->grp_count, live->grp_bytes, site_leaked(site),
                               site_leaked_bytes(site)};

    site_frames(w->h, w->s, site, add_location, w);
    wire_message(&w->part, SAMPLE_LOCATION, &w->locations);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        wire_packed(&w->inner, values[i]);
    wire_message(&w->part, SAMPLE_VALUE, &w->inner);
    put_label(w, "cache", site->site_cache, 0);
    put_label(w, "bytes", NULL, live->grp_bytes / live->grp_count);
    for (size_t k = 0; k <= LEAK_POSSIBLE; k++)
        if (site->site_leaked[k] > 0)
            put_label(w, "leak", kind_name[k], 0);
    wire_message(&w->out, PROFILE_SAMPLE, &w->part);
}

/* --- The whole --- */

/* When the target was as we saw it: a core, when it was written. */
static uint64_t
taken_at(const struct target *t)
{
    struct stat st;
    struct timespec now;
    if (!target_is_process(t) && stat(target_name(t), &st) == 0)
        return (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void
put_profile(struct writer *w, const struct sites *sites)
{
    intern_text(&w->strings, ""); /* is 0 in every profile */
    put_value_type(w, PROFILE_SAMPLE_TYPE, "inuse_objects", "count");
    put_value_type(w, PROFILE_SAMPLE_TYPE, "inuse_space", "bytes");
    put_value_type(w, PROFILE_SAMPLE_TYPE, "leaked_objects", "count");
    put_value_type(w, PROFILE_SAMPLE_TYPE, "leaked_space", "bytes");
    put_value_type(w, PROFILE_PERIOD_TYPE, "space", "bytes");
    wire_number(&w->out, PROFILE_PERIOD, 1); /* every byte is in it */
    wire_number(&w->out, PROFILE_TIME_NANOS, taken_at(w->h->heap_target));
    wire_number(&w->out, PROFILE_DEFAULT_TYPE, intern_text(&w->strings, "inuse_space"));
    for (size_t i = 0; i < sites->count; i++)
        put_sample(w, &sites->list[i]);
    put_mappings(w);
    for (size_t i = 0; i < w->strings.int_count; i++) {
        size_t size;
        const void *text = intern_key(&w->strings, (uint32_t)i, &size);
        wire_bytes(&w->out, PROFILE_STRING, text, size);
    }
}

static bool
gzip(const struct wire *data, FILE *out)
{
    int fd = dup(fileno(out));
    gzFile zip = fd >= 0 ? gzdopen(fd, "wb") : NULL;
    if (zip == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = true;
    for (size_t done = 0; ok && done < data->wire_size;) {
        size_t left = data->wire_size - done;
        unsigned step = left > 1 << 20 ? 1 << 20 : (unsigned)left;
        ok = gzwrite(zip, data->wire_data + done, step) == (int)step;
        done += step;
    }
    int error = errno;
    if (gzclose(zip) != Z_OK && ok) {
        ok = false;
        error = errno;
    }
    errno = error != 0 ? error : EIO;
    return ok;
}

bool
pprof_write(struct heap *h, struct symboliser *s, const struct sites *sites, FILE *out)
{
    struct writer w = {.h = h, .s = s};

    put_profile(&w, sites);
    bool ok = !w.out.wire_failed && !w.part.wire_failed && !w.inner.wire_failed &&
              !w.locations.wire_failed && !w.strings.int_failed && !w.functions.int_failed &&
              !w.addresses.int_failed && !w.mappings.int_failed;
    errno = ENOMEM;
    ok = ok && fflush(out) == 0 && gzip(&w.out, out);
    wire_fini(&w.out);
    wire_fini(&w.part);
    wire_fini(&w.inner);
    wire_fini(&w.locations);
    intern_fini(&w.strings);
    intern_fini(&w.functions);
    intern_fini(&w.addresses);
    intern_fini(&w.mappings);
    return ok;
}
