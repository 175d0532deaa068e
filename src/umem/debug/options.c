/* SPDX-License-Identifier: MIT */
/*
 * options.c - the environment variables UMEM_DEBUG, UMEM_LOGGING and
 * UMEM_OPTIONS: tables of what may stand in them, and one parser.
 *
 * Each variable is a list of items "name" or "name=value", separated by
 * commas; blanks round a name, a value and an item do not count, and empty
 * items neither.  Numbers are base 10; sizes may end in k, m, g or t (powers
 * of 1024) of either case.  Items take effect from left to right.  An item
 * that is unknown, malformed, out of range or has nothing to set in this
 * allocator is one message on stderr and otherwise as if it were not there.
 *
 * Where a variable is not set, the program may give a default by defining a
 * function _umem_debug_init, _umem_logging_init or _umem_options_init that
 * returns such a list (or NULL).  A variable that is set, were it to the empty
 * string, replaces the default as a whole.  The functions run while the
 * allocator sets itself up: they must not allocate.
 *
 * A process that runs with other rights than its caller (set-user-id,
 * set-group-id, file capabilities) ignores all three variables, every item of
 * them: they could make a chosen allocation fail (mtbf, fail), make the heap's
 * layout predictable (nomagazines, perthread_cache, allocator, random, firewall,
 * sample), keep freed secrets in memory (contents, quarantine, the logs), print
 * addresses of a process whose core its caller may not read, go on after a
 * detected corruption (noabort), look for less of it (maxverify), end the
 * process at a chosen place (checknull, nosignal), run it out of memory (limit),
 * have it stop for a look at all it has whenever its caller likes (verify by
 * signal), wait for somebody (exit_stop) or take commands (agent), or use memory
 * up.  The program's own defaults still count: they come with the program.
 *
 * Runs once, on one thread, before any cache exists.  Allocates nothing.
 */
#include <signal.h>
#include <string.h>
#include <sys/vmem.h>

#include "base/number.h"
#include "base/print.h"
#include "debug/debug.h"
#include "magazine/depot.h"
#include "os/os.h"
#include "os/unwind.h"

#define CONTENTS_BYTES_DEFAULT 256
#define LOG_SIZE_DEFAULT ((size_t)64 << 10)
/* Absurd beyond; short of overflow in what is computed from it. */
#define LOG_SIZE_MAX ((uint64_t)(SIZE_MAX >> 8))
#define REAP_INTERVAL_DEFAULT_S 1
/*
 * Some ten thousand of a program's usual blocks.  Of what guards cost, waiting is
 * a fifth with 256k as well as with 4m; this much fits into a usual L2 cache.
 */
#define QUARANTINE_DEFAULT ((size_t)1 << 20)
/* One import of the heap: with less nothing can be allocated at all. */
#define LIMIT_MIN ((uint64_t)1 << 20)

/* Of a seed that is made up here: 7 digits are easily typed. */
#define SEED_MASK 0xfffffu

/* Twice this is counted down from in 32 bits of a product. */
#define SAMPLE_MAX ((uint64_t)INT32_MAX)

/* Characters of an item that a message repeats. */
#define ITEM_SHOWN 64

struct umem_options umem_options = {
    .opt_audit_frames = UMEM_AUDIT_FRAMES_DEFAULT,
    .opt_contents_bytes = CONTENTS_BYTES_DEFAULT,
    .opt_contents_log = LOG_SIZE_DEFAULT,
    .opt_firewall = SIZE_MAX,
    .opt_quarantine = QUARANTINE_DEFAULT,
    .opt_reap_interval_s = REAP_INTERVAL_DEFAULT_S,
    .opt_maxverify = SIZE_MAX,
    .opt_perthread_cache = SIZE_MAX,
    .opt_max_contention = DEPOT_CONTENTION_MAX,
};

enum value_kind {
    VALUE_NONE,            /* "name" alone */
    VALUE_NUMBER,          /* "name=12" */
    VALUE_NUMBER_OPTIONAL, /* "name" or "name=12" */
    VALUE_SIZE,            /* "name=64k" */
    VALUE_SIZE_OPTIONAL,   /* "name" or "name=64k" */
    VALUE_WORD,            /* "name=" one of option_words */
    VALUE_WORD_OPTIONAL    /* "name" or that */
};

enum field_kind { FIELD_NONE, FIELD_BOOL, FIELD_U32, FIELD_U64, FIELD_SIZE };

/*
 * The tables hold no pointer, so that no page of them is written to when the
 * library is loaded, and none is touched where no variable is set.
 */

/* Why a well-formed item is not taken: the original's, with nothing to set here. */
enum refusal { TAKEN, REFUSED_CONCURRENCY, REFUSED_SIZES, REFUSED_SBRK };
static const char refusals[][72] = {
    [REFUSED_CONCURRENCY] =
        "each thread has magazines of its own, there is no number of them to set",
    [REFUSED_SIZES] = "the size classes are built in",
    [REFUSED_SBRK] = "there is no sbrk backend, memory comes from mmap",
};

struct word {
    char word_text[8]; /* "": the end of a list */
    uint32_t word_value;
    enum refusal word_refused;
};

enum word_list { NO_WORDS, SIGNAL_WORDS, ALLOCATOR_WORDS, BACKEND_WORDS };
#define WORDS_MAX 5 /* with the end */

static const struct word words[][WORDS_MAX] = {
    /* Those that people send: a program that has no handler of them would end. */
    [SIGNAL_WORDS] = {{"USR1", SIGUSR1, TAKEN},
                      {"USR2", SIGUSR2, TAKEN},
                      {"HUP", SIGHUP, TAKEN},
                      {"QUIT", SIGQUIT, TAKEN}},
    [ALLOCATOR_WORDS] = {{"best", VM_BESTFIT, TAKEN},
                         {"first", VM_FIRSTFIT, TAKEN},
                         {"next", VM_NEXTFIT, TAKEN},
                         {"instant", 0, TAKEN}},
    [BACKEND_WORDS] = {{"mmap", 0, TAKEN}, {"sbrk", 0, REFUSED_SBRK}},
};

/* A field of umem_options by its offset.  The first is set by option_flags only. */
#define OFFSET(name) (uint16_t) offsetof(struct umem_options, name)
#define NO_FIELD OFFSET(opt_flags)
_Static_assert(NO_FIELD == 0, "what is not given of an option");

/* What one item may look like and what it sets. */
struct option {
    char option_name[16]; /* "": the end of a table */
    enum value_kind option_value;
    uint32_t option_flags; /* UMF_*, added to opt_flags */
    uint64_t option_min;
    uint64_t option_max;
    uint64_t option_default;      /* what an optional value is where none is given; 0: as before */
    char option_prefix[8];        /* may stand before the value: "name=below:64" */
    uint16_t option_on;           /* set by the item, whatever its value */
    uint16_t option_prefix_field; /* whether the prefix was there */
    uint16_t option_field;        /* takes the value; without one, true */
    enum field_kind option_field_kind;
    enum word_list option_words;
    enum refusal option_refused;
};

#define FIELD(kind, name) .option_field_kind = (kind), .option_field = OFFSET(name)
#define RANGE(min, max) .option_min = (min), .option_max = (max)
#define REFUSED(why) RANGE(0, UINT64_MAX), .option_refused = (why)

static const struct option debug_table[] = {
    {"default", VALUE_NONE, .option_flags = UMF_AUDIT | UMF_CONTENTS | UMF_DEADBEEF | UMF_REDZONE},
    {"audit", VALUE_NUMBER_OPTIONAL, RANGE(0, UMEM_AUDIT_FRAMES_MAX), .option_flags = UMF_AUDIT,
     FIELD(FIELD_U32, opt_audit_frames)},
    {"guards", VALUE_NONE, .option_flags = UMF_DEADBEEF | UMF_REDZONE},
    {"guard", VALUE_NONE, .option_flags = UMF_DEADBEEF | UMF_REDZONE},
    {"contents", VALUE_SIZE_OPTIONAL, RANGE(1, LOG_SIZE_MAX), .option_flags = UMF_CONTENTS,
     FIELD(FIELD_SIZE, opt_contents_bytes)},
    {"verbose", VALUE_NONE, FIELD(FIELD_BOOL, opt_verbose)},
    {"allverbose", VALUE_NONE, FIELD(FIELD_BOOL, opt_allverbose)},
    {"noabort", VALUE_NONE, FIELD(FIELD_BOOL, opt_noabort)},
    {"verify", VALUE_WORD_OPTIONAL, .option_on = OFFSET(opt_verify),
     FIELD(FIELD_U32, opt_verify_signal), .option_words = SIGNAL_WORDS},
    {"quarantine", VALUE_SIZE, RANGE(0, SIZE_MAX >> 1), FIELD(FIELD_SIZE, opt_quarantine)},
    {"mtbf", VALUE_NUMBER, RANGE(0, UINT32_MAX), FIELD(FIELD_U32, opt_mtbf)},
    {"fail", VALUE_NUMBER, RANGE(1, UINT32_MAX), FIELD(FIELD_U32, opt_fail)},
    {"firewall", VALUE_SIZE, RANGE(0, SIZE_MAX - 1), FIELD(FIELD_SIZE, opt_firewall),
     .option_prefix = "below:", .option_prefix_field = OFFSET(opt_firewall_below)},
    {"sample", VALUE_NUMBER, RANGE(0, SAMPLE_MAX), FIELD(FIELD_U32, opt_sample)},
    {"nohandler", VALUE_NONE, FIELD(FIELD_BOOL, opt_nohandler)},
    {"nosignal", VALUE_NONE, .option_flags = UMF_AUDIT, FIELD(FIELD_BOOL, opt_nosignal)},
    {"lite", VALUE_NONE, .option_flags = UMF_REDZONE},
    {"maxverify", VALUE_SIZE, RANGE(0, SIZE_MAX), FIELD(FIELD_SIZE, opt_maxverify)},
    {"random", VALUE_NUMBER_OPTIONAL, RANGE(1, UINT64_MAX), .option_on = OFFSET(opt_random),
     FIELD(FIELD_U64, opt_random_seed)},
    {"checknull", VALUE_NONE, FIELD(FIELD_BOOL, opt_checknull)},
    {.option_name = ""},
};

static const struct option logging_table[] = {
    {"contents", VALUE_SIZE_OPTIONAL, RANGE(0, LOG_SIZE_MAX), FIELD(FIELD_SIZE, opt_contents_log)},
    {"transaction", VALUE_SIZE_OPTIONAL, RANGE(0, LOG_SIZE_MAX), .option_default = LOG_SIZE_DEFAULT,
     FIELD(FIELD_SIZE, opt_transaction_log)},
    {"fail", VALUE_SIZE_OPTIONAL, RANGE(0, LOG_SIZE_MAX), .option_default = LOG_SIZE_DEFAULT,
     FIELD(FIELD_SIZE, opt_fail_log)},
    {"slab", VALUE_SIZE_OPTIONAL, RANGE(0, LOG_SIZE_MAX), .option_default = LOG_SIZE_DEFAULT,
     FIELD(FIELD_SIZE, opt_slab_log)},
    {.option_name = ""},
};

static const struct option options_table[] = {
    {"reap_interval", VALUE_NUMBER, RANGE(0, UINT32_MAX), FIELD(FIELD_U32, opt_reap_interval_s)},
    {"limit", VALUE_SIZE, RANGE(LIMIT_MIN, SIZE_MAX), FIELD(FIELD_SIZE, opt_heap_limit)},
    {"reap_thread", VALUE_NONE, FIELD(FIELD_BOOL, opt_reap_thread)},
    {"exit_stop", VALUE_NUMBER, RANGE(1, UINT32_MAX), FIELD(FIELD_U32, opt_exit_stop)},
    {"agent", VALUE_NONE, FIELD(FIELD_BOOL, opt_agent)},
    {"nomagazines", VALUE_NONE, FIELD(FIELD_BOOL, opt_nomagazines)},
    {"allocator", VALUE_WORD, FIELD(FIELD_U32, opt_vmem_policy), .option_words = ALLOCATOR_WORDS},
    {"backend", VALUE_WORD, .option_words = BACKEND_WORDS},
    {"perthread_cache", VALUE_SIZE, RANGE(0, SIZE_MAX), FIELD(FIELD_SIZE, opt_perthread_cache)},
    {"max_contention", VALUE_NUMBER, RANGE(0, UINT32_MAX), FIELD(FIELD_U32, opt_max_contention)},
    {"concurrency", VALUE_NUMBER, REFUSED(REFUSED_CONCURRENCY)},
    {"size_add", VALUE_SIZE, REFUSED(REFUSED_SIZES)},
    {"size_remove", VALUE_SIZE, REFUSED(REFUSED_SIZES)},
    {"size_clear", VALUE_NONE, REFUSED(REFUSED_SIZES)},
    {.option_name = ""},
};

/* Part of a variable's text, blanks trimmed. */
struct span {
    const char *span_text;
    size_t span_size;
};

/* What is being read, for messages. */
struct item {
    const char *item_source; /* the variable or function */
    struct span item_whole;
    struct span item_name;
    struct span item_value;
    bool item_has_value;
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static UMEM_COLD struct span
trimmed(const char *start, const char *end)
{
    while (start < end && is_blank(*start))
        start++;
    while (start < end && is_blank(end[-1]))
        end--;
    return (struct span){start, (size_t)(end - start)};
}

static bool
span_is(struct span span, const char *word)
{
    return strlen(word) == span.span_size && memcmp(word, span.span_text, span.span_size) == 0;
}

/* The item as a message shows it: cut, and without what could drive a terminal. */
static UMEM_COLD void
say(const struct item *item, const char *what)
{
    char shown[ITEM_SHOWN + sizeof("...")];
    size_t size = umem_min(item->item_whole.span_size, ITEM_SHOWN);

    for (size_t i = 0; i < size; i++) {
        char c = item->item_whole.span_text[i];
        shown[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    memcpy(shown + size, "...", sizeof("..."));
    if (size == item->item_whole.span_size)
        shown[size] = '\0';
    umem_message(true, "%s: \"%s\": %s, ignored", item->item_source, shown, what);
}

static void
say_range(const struct item *item, const struct option *option, bool size)
{
    char what[96];

    umem_snprintf(what, sizeof(what), "not a %s from %llu to %llu", size ? "size" : "number",
                  (unsigned long long)option->option_min, (unsigned long long)option->option_max);
    say(item, what);
}

/* False: said why the item does not count. */
static bool
parse_value(const struct item *item, const struct option *option, uint64_t *value)
{
    bool size = option->option_value == VALUE_SIZE || option->option_value == VALUE_SIZE_OPTIONAL;

    if (option->option_words != NO_WORDS) {
        for (const struct word *word = words[option->option_words]; word->word_text[0]; word++) {
            if (!span_is(item->item_value, word->word_text))
                continue;
            if (word->word_refused != TAKEN)
                say(item, refusals[word->word_refused]);
            *value = word->word_value;
            return word->word_refused == TAKEN;
        }
        say(item, "not a value of this option");
        return false;
    }
    if (umem_parse_number(item->item_value.span_text, item->item_value.span_size, size, value) &&
        *value >= option->option_min && *value <= option->option_max)
        return true;
    say_range(item, option, size);
    return false;
}

static void *
field_at(uint16_t offset)
{
    return (char *)&umem_options + offset;
}

static void
set_field(const struct option *option, uint64_t value)
{
    void *field = field_at(option->option_field);

    switch (option->option_field_kind) {
    case FIELD_BOOL:
        *(bool *)field = value != 0;
        break;
    case FIELD_U32:
        *(uint32_t *)field = (uint32_t)value;
        break;
    case FIELD_U64:
        *(uint64_t *)field = value;
        break;
    case FIELD_SIZE:
        *(size_t *)field = (size_t)value;
        break;
    case FIELD_NONE:
        break;
    }
}

/* Takes a prefix off the value, where the option may have one.  Whether it was there. */
static bool
take_prefix(struct item *item, const char *prefix)
{
    size_t size = strlen(prefix);
    struct span *value = &item->item_value;

    if (size == 0 || value->span_size < size || memcmp(value->span_text, prefix, size) != 0)
        return false;
    *value = trimmed(value->span_text + size, value->span_text + value->span_size);
    return true;
}

static void
apply_item(struct item *item, const struct option *option)
{
    bool optional = option->option_value == VALUE_NUMBER_OPTIONAL ||
                    option->option_value == VALUE_SIZE_OPTIONAL ||
                    option->option_value == VALUE_WORD_OPTIONAL;
    uint64_t value = 1;

    if (option->option_value == VALUE_NONE && item->item_has_value) {
        say(item, "this option takes no value");
        return;
    }
    if (option->option_value != VALUE_NONE && !optional && !item->item_has_value) {
        say(item, "this option needs a value");
        return;
    }
    bool prefixed = take_prefix(item, option->option_prefix);
    if (item->item_has_value && !parse_value(item, option, &value))
        return;
    if (option->option_refused != TAKEN) {
        say(item, refusals[option->option_refused]);
        return;
    }
    umem_options.opt_flags |= option->option_flags;
    if (option->option_on != NO_FIELD)
        *(bool *)field_at(option->option_on) = true;
    if (option->option_prefix_field != NO_FIELD)
        *(bool *)field_at(option->option_prefix_field) = prefixed;
    if (item->item_has_value || !optional)
        set_field(option, value);
    else if (option->option_default != 0)
        set_field(option, option->option_default);
}

static void
parse_item(struct item *item, const char *start, const char *end, const struct option *table)
{
    item->item_whole = trimmed(start, end);
    if (item->item_whole.span_size == 0)
        return;
    const char *equals = memchr(start, '=', (size_t)(end - start));
    item->item_has_value = equals != NULL;
    item->item_name = trimmed(start, equals != NULL ? equals : end);
    item->item_value = equals != NULL ? trimmed(equals + 1, end) : (struct span){end, 0};
    for (const struct option *option = table; option->option_name[0] != '\0'; option++)
        if (span_is(item->item_name, option->option_name)) {
            apply_item(item, option);
            return;
        }
    say(item, "no such option");
}

static UMEM_COLD void
parse_list(const char *source, const char *text, const struct option *table)
{
    struct item item = {.item_source = source};

    for (;;) {
        const char *end = strchr(text, ',');
        parse_item(&item, text, end != NULL ? end : text + strlen(text), table);
        if (end == NULL)
            break;
        text = end + 1;
    }
}

/* Defined by the program, perhaps. */
extern const char *_umem_debug_init(void) __attribute__((weak));
extern const char *_umem_logging_init(void) __attribute__((weak));
extern const char *_umem_options_init(void) __attribute__((weak));

static void
read_variable(const char *name, const char *function_name, const char *(*function)(void),
              const struct option *table)
{
    const char *text = os_getenv(name);

    if (text != NULL && os_secure()) {
        umem_message(false, "%s: the process runs with other rights than its caller, ignored",
                     name);
        text = NULL;
    }
    if (text != NULL) {
        parse_list(name, text, table);
        return;
    }
    text = function != NULL ? function() : NULL;
    if (text != NULL)
        parse_list(function_name, text, table);
}

/* A seed that was not given, for the user to give it the next time. */
static void
choose_seed(void)
{
    if (!umem_options.opt_random || umem_options.opt_random_seed != 0)
        return;
    umem_options.opt_random_seed =
        (umem_hash64(os_clock_ns() ^ (uint64_t)os_process_id() << 32) & SEED_MASK) | 1;
    umem_message(true, "random debugging; UMEM_DEBUG=random=%llu repeats it",
                 (unsigned long long)umem_options.opt_random_seed);
}

/* Whether any block will have round it, or in it when it is free, what can be verified. */
static bool
has_something_to_verify(void)
{
    return (umem_options.opt_flags & UMF_BUFTAG) != 0 || umem_options.opt_random ||
           umem_options.opt_firewall != SIZE_MAX || umem_options.opt_sample != 0;
}

/* What only shows once everything is read. */
static void
check_together(void)
{
    choose_seed();
    /* With a signal, or an agent, guards may be switched on later. */
    if (umem_options.opt_verify && umem_options.opt_verify_signal == 0 && !umem_options.opt_agent &&
        !has_something_to_verify())
        umem_message(true, "verify: without guards, lite or firewall there is nothing to look at");
    if (umem_options.opt_nosignal && !OS_UNWIND_KNOWS_SIGNALS) {
        umem_message(true, "nosignal: signal handlers cannot be told on this processor, ignored");
        umem_options.opt_nosignal = false;
    }
    bool contents = (umem_options.opt_flags & UMF_CONTENTS) != 0;

    if (contents && umem_options.opt_contents_log == 0)
        umem_options.opt_flags &= ~(uint32_t)UMF_CONTENTS;
    if (contents && umem_options.opt_contents_log != 0 &&
        umem_options.opt_contents_bytes > umem_options.opt_contents_log / 2) {
        umem_message(true,
                     "contents=%zu: a contents log of %zu bytes holds at most %zu of a buffer",
                     umem_options.opt_contents_bytes, umem_options.opt_contents_log,
                     umem_options.opt_contents_log / 2);
        umem_options.opt_contents_bytes = umem_options.opt_contents_log / 2;
    }
    if (umem_options.opt_allverbose)
        umem_message(true, "debugging:%s%s%s%s%s, %u frames, mtbf %u, reap every %u s",
                     (umem_options.opt_flags & UMF_AUDIT) != 0 ? " audit" : "",
                     (umem_options.opt_flags & UMF_BUFTAG) == UMF_REDZONE ? " lite" : "",
                     (umem_options.opt_flags & UMF_DEADBEEF) != 0 ? " guards" : "",
                     (umem_options.opt_flags & UMF_CONTENTS) != 0 ? " contents" : "",
                     (umem_options.opt_flags & UMF_DEBUG) == 0 ? " off" : "",
                     umem_options.opt_audit_frames, umem_options.opt_mtbf,
                     umem_options.opt_reap_interval_s);
}

void
umem_options_read(void)
{
    read_variable("UMEM_DEBUG", "_umem_debug_init", _umem_debug_init, debug_table);
    read_variable("UMEM_LOGGING", "_umem_logging_init", _umem_logging_init, logging_table);
    read_variable("UMEM_OPTIONS", "_umem_options_init", _umem_options_init, options_table);
    check_together();
    if (umem_options.opt_mtbf != 0)
        atomic_store_explicit(&umem_mtbf, umem_options.opt_mtbf, memory_order_relaxed);
}
