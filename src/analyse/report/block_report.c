/* SPDX-License-Identifier: MIT */
/*
 * block_report.c - see block_report.h.
 */
#include "report/block_report.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "report/format.h"

/* Bytes looked at: two lines of a hex dump. */
#define CONTENTS_BYTES 32
/* Fewer printable characters than this are no string. */
#define STRING_MIN 4

static size_t
string_length(const unsigned char *bytes, size_t size)
{
    size_t n = 0;
    while (n < size && (isprint(bytes[n]) || bytes[n] == '\n' || bytes[n] == '\t'))
        n++;
    return n;
}

/* Printable to the end of what was read counts too: the string goes on. */
static bool
describe_string(const unsigned char *bytes, size_t size, char *out, size_t out_size)
{
    size_t n = string_length(bytes, size);
    if (n < STRING_MIN || (n < size && bytes[n] != '\0'))
        return false;
    size_t o = 0;
    out[o++] = '"';
    for (size_t i = 0; i < n && o + 8 < out_size; i++) {
        if (bytes[i] == '\n' || bytes[i] == '\t' || bytes[i] == '"' || bytes[i] == '\\')
            out[o++] = '\\';
        out[o++] = bytes[i] == '\n' ? 'n' : bytes[i] == '\t' ? 't' : (char)bytes[i];
    }
    snprintf(out + o, out_size - o, "\"%s", n == size ? "..." : "");
    return true;
}

/* The first got bytes of what has size of them. */
static void
bytes_describe(struct heap *h, struct symboliser *s, const unsigned char *bytes, size_t got,
               uint64_t size, char *out, size_t out_size)
{
    unsigned word = h->heap_offsets.off_word;

    out[0] = '\0';
    if (got >= word) {
        struct record rec = {bytes, got, 0};
        const char *vtable = symboliser_vtable(s, record_get(&rec, 0, (struct field){0, word}));
        if (vtable[0] != '\0') {
            snprintf(out, out_size, "%s (a C++ object)", vtable);
            return;
        }
    }
    if (got == 0) {
        snprintf(out, out_size, "(cannot be read)");
        return;
    }
    if (describe_string(bytes, got, out, out_size))
        return;
    size_t o = 0;
    for (size_t i = 0; i < got && o + 4 < out_size; i++)
        o += (size_t)snprintf(out + o, out_size - o, "%s%02x",
                              i == 0       ? ""
                              : i % 8 == 0 ? "  "
                                           : " ",
                              bytes[i]);
    if (size > got && o + 4 < out_size)
        snprintf(out + o, out_size - o, " ...");
}

void
contents_describe(struct heap *h, struct symboliser *s, addr_t addr, uint64_t size, char *out,
                  size_t out_size)
{
    unsigned char bytes[CONTENTS_BYTES];
    size_t want = size < sizeof(bytes) ? (size_t)size : sizeof(bytes);
    size_t got = target_read(h->heap_target, addr, bytes, want);

    bytes_describe(h, s, bytes, got, size, out, out_size);
}

bool
freed_contents_describe(struct heap *h, struct symboliser *s, const struct block_info *info,
                        char *out, size_t out_size)
{
    unsigned char bytes[CONTENTS_BYTES];
    uint64_t kept;
    size_t got =
        info->blk_live ? 0 : heap_freed_contents(h, info->blk_addr, bytes, sizeof(bytes), &kept);

    if (got > 0)
        bytes_describe(h, s, bytes, got, kept, out, out_size);
    return got > 0;
}

static uint64_t
age_of(struct heap *h, uint64_t time)
{
    uint64_t now = heap_now(h);
    return now > time ? now - time : 0;
}

static void
print_transaction(struct heap *h, struct symboliser *s, const char *verb, uint32_t stack,
                  uint32_t thread, uint64_t time, bool color)
{
    addr_t frames[HEAP_STACK_MAX];
    if (time == 0)
        return;
    printf("  %s %s %s by thread %" PRIu32 "\n", verb, format_age(age_of(h, time)).s,
           age_suffix(h->heap_target), thread);
    size_t n = heap_stack(h, stack, frames, HEAP_STACK_MAX);
    stack_print(s, frames, n, false, 6, color);
}

void
block_history_print(struct heap *h, struct symboliser *s, const struct block_info *info, bool color)
{
    if (!info->blk_audited)
        return;
    print_transaction(h, s, info->blk_live ? "allocated" : "freed", info->blk_stack,
                      info->blk_thread, info->blk_time, color);
    if (!info->blk_live)
        print_transaction(h, s, "allocated", info->blk_prev_stack, info->blk_prev_thread,
                          info->blk_prev_time, color);
}

void
block_history_json(struct heap *h, struct symboliser *s, const struct block_info *info, json_t *out)
{
    addr_t frames[HEAP_STACK_MAX];
    bool known = info != NULL && info->blk_audited;
    size_t n = known ? heap_stack(h, info->blk_stack, frames, HEAP_STACK_MAX) : 0;

    json_object_set_new(out, "thread",
                        known ? json_integer((json_int_t)info->blk_thread) : json_null());
    json_object_set_new(out, "age_s",
                        known ? json_real(format_seconds(age_of(h, info->blk_time))) : json_null());
    json_object_set_new(out, "stack", stack_json(s, frames, n, false));
    if (!known || info->blk_live)
        return;
    n = heap_stack(h, info->blk_prev_stack, frames, HEAP_STACK_MAX);
    json_object_set_new(out, "allocated_stack", stack_json(s, frames, n, false));
}

static const char *
reason(const struct heap *h, size_t *i, size_t *part)
{
    if (*part == 0) {
        const char *text = target_incomplete_reason(h->heap_target, *i);
        if (text != NULL) {
            ++*i;
            return text;
        }
        *part = 1;
        *i = 0;
    }
    size_t kept =
        h->heap_problem_count < HEAP_PROBLEMS_MAX ? h->heap_problem_count : HEAP_PROBLEMS_MAX;
    return *i < kept ? h->heap_problems[(*i)++] : NULL;
}

void
incomplete_print(const struct heap *h, bool color)
{
    size_t i = 0;
    size_t part = 0;
    const char *text;

    if (h->heap_allocator == HEAP_GLIBC)
        printf("%sglibc's own heap, without libumem: who allocated is not recorded%s\n",
               style_dim(color), style_end(color));
    if (heap_is_complete(h))
        return;
    while ((text = reason(h, &i, &part)) != NULL)
        printf("%sincomplete:%s %s\n", style_alert(color), style_end(color), text);
    if (h->heap_problem_count > HEAP_PROBLEMS_MAX)
        printf("%sincomplete:%s and %zu more of the kind\n", style_alert(color), style_end(color),
               h->heap_problem_count - HEAP_PROBLEMS_MAX);
}

json_t *
incomplete_json(const struct heap *h)
{
    json_t *reasons = json_array();
    size_t i = 0;
    size_t part = 0;
    const char *text;

    while ((text = reason(h, &i, &part)) != NULL)
        json_array_append_new(reasons, json_string(text));
    return reasons;
}

const char *
age_suffix(const struct target *t)
{
    if (target_is_process(t))
        return "ago";
    return target_now(t) != 0 ? "before the core was taken"
                              : "before the core's newest allocation or free";
}

void
target_describe(const struct target *t, char *out, size_t size)
{
    const char *exe = target_executable(t);
    const char *slash = strrchr(exe, '/');
    const char *name = slash != NULL ? slash + 1 : exe;

    if (target_is_process(t))
        snprintf(out, size, "%s (pid %d)", name[0] != '\0' ? name : "process", (int)target_pid(t));
    else if (name[0] != '\0')
        snprintf(out, size, "%s of %s (pid %d)", target_name(t), name, (int)target_pid(t));
    else
        snprintf(out, size, "%s", target_name(t));
}
