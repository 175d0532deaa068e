/* SPDX-License-Identifier: MIT */
/*
 * agent_command.c - the commands of the agent: read, carried out, answered.
 *
 * Owns no state.  What comes from outside is looked at a word at a time, and
 * nothing of it is repeated in a reply.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <umem.h>

#include "base/number.h"
#include "base/print.h"
#include "cache/agent.h"
#include "cache/cache.h"
#include "os/snapshot.h"

/* A part of the line. */
struct word {
    const char *word_text;
    size_t word_length;
};

/* A command's words, and where the reply goes. */
struct request {
    const struct umem_agent_client *req_client;
    struct word req_rest; /* of the line */
    char *req_reply;
    size_t req_length; /* of the reply */
};

__attribute__((format(printf, 2, 3))) static void
say(struct request *req, const char *fmt, ...)
{
    size_t room = UMEM_AGENT_REPLY_MAX - req->req_length;
    va_list ap;

    va_start(ap, fmt);
    size_t length = umem_vsnprintf(req->req_reply + req->req_length, room, fmt, ap);
    va_end(ap);
    req->req_length += umem_min(length, room - 1);
}

static void
refuse(struct request *req, const char *why)
{
    say(req, "error: %s\n", why);
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Takes the next word off the line; one of no length at its end. */
static struct word
next_word(struct request *req)
{
    struct word rest = req->req_rest, word;

    while (rest.word_length > 0 && is_blank(*rest.word_text)) {
        rest.word_text++;
        rest.word_length--;
    }
    word = (struct word){rest.word_text, 0};
    while (word.word_length < rest.word_length && !is_blank(word.word_text[word.word_length]))
        word.word_length++;
    req->req_rest =
        (struct word){rest.word_text + word.word_length, rest.word_length - word.word_length};
    return word;
}

static bool
is(struct word word, const char *text)
{
    return strlen(text) == word.word_length && memcmp(text, word.word_text, word.word_length) == 0;
}

/* Whether the word begins with name, which is then taken off. */
static bool
take_name(struct word *word, const char *name)
{
    size_t length = strlen(name);

    if (word->word_length < length || memcmp(word->word_text, name, length) != 0)
        return false;
    word->word_text += length;
    word->word_length -= length;
    return true;
}

static bool
parse(struct word word, bool size, uint64_t max, uint64_t *n)
{
    return umem_parse_number(word.word_text, word.word_length, size, n) && *n <= max;
}

/* What "audit on" is to record. */
struct wanted {
    struct umem_audit_spec want_spec;
    char want_cache[UMEM_CACHE_NAME_SIZE];
    int want_threads[UMEM_AUDIT_THREADS_MAX];
};

/* LO-HI, LO- or one size. */
static const char *
parse_range(struct word word, struct umem_audit_spec *spec)
{
    const char *dash = memchr(word.word_text, '-', word.word_length);
    struct word low = word;
    uint64_t from, to;

    if (dash != NULL)
        low.word_length = (size_t)(dash - word.word_text);
    if (!parse(low, true, SIZE_MAX, &from))
        return "size is not a range of sizes";
    to = dash != NULL ? 0 : from;
    if (dash != NULL && low.word_length + 1 < word.word_length) {
        struct word high = {dash + 1, word.word_length - low.word_length - 1};
        if (!parse(high, true, SIZE_MAX, &to) || to == 0)
            return "size is not a range of sizes";
    }
    spec->audit_size_min = (size_t)from;
    spec->audit_size_max = (size_t)to;
    return NULL;
}

/* Reads one item into *want.  NULL, or what is wrong with it. */
static const char *
parse_item(struct word word, struct wanted *want)
{
    struct umem_audit_spec *spec = &want->want_spec;
    uint64_t n;

    if (is(word, "guards") || is(word, "guard")) {
        spec->audit_flags |= UMEM_AUDIT_GUARDS;
    } else if (take_name(&word, "frames=")) {
        if (!parse(word, false, UINT_MAX, &n))
            return "frames is not a number";
        spec->audit_frames = (unsigned)n;
    } else if (take_name(&word, "cache=")) {
        if (word.word_length == 0 || word.word_length >= sizeof(want->want_cache))
            return "cache is not a name";
        memset(want->want_cache, 0, sizeof(want->want_cache));
        memcpy(want->want_cache, word.word_text, word.word_length);
        spec->audit_cache = want->want_cache;
    } else if (take_name(&word, "size=")) {
        return parse_range(word, spec);
    } else if (take_name(&word, "thread=")) {
        if (!parse(word, false, INT_MAX, &n) || n == 0)
            return "thread is not a thread's id";
        if (spec->audit_thread_count == UMEM_AUDIT_THREADS_MAX)
            return "too many threads";
        want->want_threads[spec->audit_thread_count++] = (int)n;
        spec->audit_threads = want->want_threads;
    } else if (take_name(&word, "cap=")) {
        if (!parse(word, true, SIZE_MAX, &n) || n == 0)
            return "cap is not a size";
        spec->audit_cap = (size_t)n;
    } else {
        return "no such item of audit on";
    }
    return NULL;
}

static const char *
why(int error)
{
    switch (error) {
    case EALREADY:
        return "audit is on already";
    case ENOENT:
        return "there is no cache of that name";
    case EINVAL:
        return "a value is out of range";
    default:
        return "there is no memory";
    }
}

static void
audit_on(struct request *req)
{
    struct wanted want = {.want_cache = ""};
    struct word word;

    while ((word = next_word(req)).word_length > 0) {
        const char *wrong = parse_item(word, &want);
        if (wrong != NULL) {
            refuse(req, wrong);
            return;
        }
    }
    if (umem_audit_start(&want.want_spec) == 0)
        say(req, "ok\n");
    else
        refuse(req, why(errno));
}

/* Whether nothing follows; else the command is refused. */
static bool
ends(struct request *req)
{
    if (next_word(req).word_length == 0)
        return true;
    refuse(req, "this command takes nothing more");
    return false;
}

static void
audit(struct request *req)
{
    struct word how = next_word(req);

    if (is(how, "on")) {
        audit_on(req);
    } else if (!is(how, "off")) {
        refuse(req, "audit what? on or off");
    } else if (ends(req)) {
        if (umem_audit_stop() == 0)
            say(req, "ok\n");
        else
            refuse(req, "audit is off already");
    }
}

static void
status(struct request *req)
{
    struct umem_audit_status now;

    if (!ends(req))
        return;
    umem_audit_status(&now);
    say(req, "audit %s\n", now.audit_cap_met ? "capped" : now.audit_on ? "on" : "off");
    say(req, "frames %u\ncap %zu\nrecords %zu\nok\n", now.audit_frames, now.audit_cap,
        now.audit_record_bytes);
}

static void
reap(struct request *req)
{
    if (!ends(req))
        return;
    /* Not umem_reap(): this thread runs nothing of the program's. */
    (void)umem_reap_plain();
    say(req, "ok\n");
}

static void
verify(struct request *req)
{
    if (ends(req))
        say(req, "corrupt %zu\nok\n", umem_verify());
}

static const char *
why_no_snapshot(int error)
{
    switch (error) {
    case EBADF:
        return "no descriptor was passed along (SCM_RIGHTS)";
    case EINVAL:
        return "the descriptor is none of a regular file that can be written";
    case EBUSY:
        return "a snapshot is being written already";
    case ENOENT:
    case EACCES:
        return "the process cannot read its own /proc";
    case ENOSYS:
        return "not on this processor";
    case EAGAIN:
        return "there can be no more processes (RLIMIT_NPROC, or a control group's limit)";
    case EPERM:
        return "a filter of system calls does not let it";
    default:
        return "there is no memory";
    }
}

static void
snapshot(struct request *req)
{
    if (!ends(req))
        return;
    if (os_snapshot(req->req_client->agent_passed, req->req_client->agent_connection) != 0)
        refuse(req, why_no_snapshot(errno));
}

static void
help(struct request *req)
{
    say(req, "audit on [frames=N] [cache=NAME] [size=LO-HI] [thread=TID]... [cap=SIZE] [guards]\n"
             "audit off\nstatus\nreap\nverify\nsnapshot\nhelp\nok\n");
}

size_t
umem_agent_command(const struct umem_agent_client *client, const char *line, size_t length,
                   char reply[UMEM_AGENT_REPLY_MAX])
{
    static const struct {
        const char *name;
        void (*fn)(struct request *req);
    } commands[] = {{"audit", audit},   {"status", status},     {"reap", reap},
                    {"verify", verify}, {"snapshot", snapshot}, {"help", help}};
    struct request req = {.req_client = client, .req_rest = {line, length}, .req_reply = reply};
    struct word name = next_word(&req);

    for (size_t i = 0; i < UMEM_ARRAY_SIZE(commands); i++)
        if (is(name, commands[i].name)) {
            commands[i].fn(&req);
            return req.req_length;
        }
    refuse(&req, "no such command, help lists them");
    return req.req_length;
}
