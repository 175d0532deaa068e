/* SPDX-License-Identifier: MIT */
/*
 * check.c - what is written into and round a buffer under debugging, and what
 * is verified of it when it changes hands.
 *
 * State of a buffer (its bufctl's bc_state, outside the chunk) and what its
 * chunk then holds; tag and slack are there with UMF_REDZONE only, the fills
 * with UMF_DEADBEEF only:
 *
 *   raw        anything             gap of slack  anything
 *   allocated  the program's, slack gap of slack  tag: requested size, allocated
 *   free       0xdeadbeef           gap of slack  tag: free
 *
 * The state changes by compare-and-swap, so that of two threads that free a
 * buffer at once one is told.  Everything else of a buffer belongs to the
 * thread that allocates or frees it: no lock here.  But the tag before a
 * buffer is its neighbour's, and may change between free and allocated while
 * it is looked at: it is read a word at a time, and may be either.
 *
 * Where several things are wrong at once, the surest is reported: the bufctl
 * (out of the program's reach, so all else rests on it), the state, the stated
 * size, then the bytes in the order of their addresses.  A tag lies between
 * two buffers: the one to which the damaged bytes are closer is named.
 */
#include <string.h>

#include "debug/contents.h"
#include "debug/debug.h"
#include "debug/pattern.h"
#include "debug/tag.h"

/* Damage that a verifier sees beside the owner counts when so many looks agree. */
#define VERIFY_LOOKS 3

/* Bytes from a buffer's start to its tag. */
static size_t
tag_offset(const struct umem_buffer *buf)
{
    return buf->buf_space + buf->buf_gap;
}

static struct umem_buftag *
tag_of(const struct umem_buffer *buf)
{
    return (struct umem_buftag *)(void *)(buf->buf_addr + tag_offset(buf));
}

/* The tag before a buffer's start. */
static struct umem_buftag *
front_of(const struct umem_buffer *buf)
{
    return (struct umem_buftag *)(void *)buf->buf_addr - 1;
}

/* The buffer in front or behind, where there is one: for reports. */
static struct umem_buffer
neighbour(const struct umem_buffer *buf, struct umem_bufctl *bc)
{
    ptrdiff_t chunk = (ptrdiff_t)(tag_offset(buf) + sizeof(struct umem_buftag));
    struct umem_buffer found = *buf;

    found.buf_addr += bc == buf->buf_before ? -chunk : chunk;
    found.buf_bufctl = bc;
    found.buf_before = found.buf_behind = NULL;
    return found;
}

/* A tag as it is to be; mark is UMEM_BUFTAG_*. */
static struct umem_buftag
tag_for(const struct umem_bufctl *bc, uint64_t size, uint32_t mark)
{
    uint32_t bufctl = (uint32_t)(uintptr_t)bc;
    struct umem_buftag tag = {UMEM_REDZONE_PATTERN, umem_encoded_size(size), bufctl, bufctl ^ mark};

    return tag;
}

static void
write_tag(const struct umem_buffer *buf, uint64_t size, uint32_t mark)
{
    umem_tag_store(tag_of(buf), umem_tag_words(buf->buf_bufctl, size, mark));
}

static uint32_t
turns_of(const struct umem_bufctl *bc)
{
    return __atomic_load_n(&bc->bc_turns, __ATOMIC_ACQUIRE);
}

/* What a check found: whose fault it is, this buffer's or a neighbour's, and what is wrong. */
struct damage {
    struct umem_error_info dmg_err;
    struct umem_buffer dmg_buffer;
};

/* Reports and says false: to be returned. */
static UMEM_COLD bool
bad(enum umem_error kind, const struct umem_buffer *buf)
{
    struct umem_error_info err = {.err_kind = kind,
                                  .err_addr = buf->buf_addr,
                                  .err_buffer = buf,
                                  .err_cache = buf->buf_cache};

    umem_report(&err);
    return false;
}

/* Damage in or round a buffer; false, to be returned. */
static UMEM_COLD bool
bad_at(struct damage *d, enum umem_error kind, const struct umem_buffer *buf, size_t offset,
       uint64_t expected, uint64_t found)
{
    *d = (struct damage){.dmg_err = {.err_kind = kind,
                                     .err_addr = buf->buf_addr,
                                     .err_cache = buf->buf_cache,
                                     .err_offset = offset,
                                     .err_expected = expected,
                                     .err_found = found},
                         .dmg_buffer = *buf};
    return false;
}

static bool
was_reported(const struct umem_bufctl *bc)
{
    return (turns_of(bc) & UMEM_BC_REPORTED) != 0;
}

static bool
is_fault_of(const struct umem_buffer *buf, const struct damage *d)
{
    return d->dmg_buffer.buf_bufctl == buf->buf_bufctl;
}

/* Reports damage that was found at buf.  True: it is a neighbour's fault, which is said once. */
static UMEM_COLD bool
tell(const struct umem_buffer *buf, struct damage *d)
{
    struct umem_bufctl *bc = d->dmg_buffer.buf_bufctl;

    if (!is_fault_of(buf, d) && was_reported(bc))
        return true;
    __atomic_fetch_or(&bc->bc_turns, UMEM_BC_REPORTED, __ATOMIC_RELAXED);
    d->dmg_err.err_buffer = &d->dmg_buffer;
    umem_report(&d->dmg_err);
    return !is_fault_of(buf, d);
}

/* Offset of the first byte of a tag that is not as it should be, or its size. */
static size_t
tag_difference(const struct umem_buftag *tag, const struct umem_buftag *right)
{
    size_t at = 0;

    while (at < sizeof(*tag) && ((const char *)tag)[at] == ((const char *)right)[at])
        at++;
    return at;
}

/*
 * Whether damage to a tag, from at on, began at the end of the tag's own
 * buffer, rather than in front of the buffer behind.  A run of the redzone's
 * own pattern shows in its second word only.
 */
static bool
is_overrun(const struct umem_buftag *tag, const struct umem_buftag *right, size_t at)
{
    if (at < offsetof(struct umem_buftag, buftag_size))
        return true;
    return at < offsetof(struct umem_buftag, buftag_bufctl) &&
           (tag->buftag_size == UMEM_REDZONE_PATTERN || tag->buftag_state == right->buftag_state);
}

static bool
bad_tag_at(struct damage *d, enum umem_error kind, const struct umem_buffer *buf, size_t offset,
           const struct umem_buftag *right, const struct umem_buftag *tag, size_t at)
{
    return bad_at(d, kind, buf, offset, ((const unsigned char *)right)[at],
                  ((const unsigned char *)tag)[at]);
}

/* A buffer's own tag is damaged from at on, by itself or by the buffer behind. */
static UMEM_COLD bool
bad_tag(const struct umem_buffer *buf, const struct umem_buftag *right, size_t at, uint32_t mark,
        struct damage *d)
{
    enum umem_error kind = UMERR_BADBUFTAG;

    if (is_overrun(tag_of(buf), right, at)) {
        if (mark == UMEM_BUFTAG_ALLOCATED)
            kind = UMERR_REDZONE;
    } else if (buf->buf_behind != NULL && umem_bufctl_state(buf->buf_behind) != UMEM_BUFFER_RAW) {
        struct umem_buffer behind = neighbour(buf, buf->buf_behind);
        return bad_tag_at(d, UMERR_UNDERRUN, &behind, at - sizeof(*right), right, tag_of(buf), at);
    }
    return bad_tag_at(d, kind, buf, tag_offset(buf) + at, right, tag_of(buf), at);
}

static UMEM_ALWAYS_INLINE bool
check_tag(const struct umem_buffer *buf, uint64_t size, uint32_t mark, struct damage *d)
{
    if (UMEM_LIKELY(
            umem_tag_differences(tag_of(buf), umem_tag_words(buf->buf_bufctl, size, mark)) == 0))
        return true;
    struct umem_buftag right = tag_for(buf->buf_bufctl, size, mark);
    return bad_tag(buf, &right, tag_difference(tag_of(buf), &right), mark, d);
}

/* What is wrong where slack bytes or tag of an allocated buffer are not as they should be. */
static UMEM_COLD bool
bad_redzone(const struct umem_buffer *buf, struct damage *d)
{
    size_t requested = (size_t)buf->buf_bufctl->bc_size;
    size_t slack = tag_offset(buf) - requested;
    const char *end = buf->buf_addr + requested;
    size_t at = umem_first_difference(end, slack, umem_slack_word(end));

    if (UMEM_UNLIKELY(at != slack))
        return bad_at(d, UMERR_REDZONE, buf, requested + at, UMEM_SLACK_BYTE(end + at),
                      (unsigned char)end[at]);
    return check_tag(buf, requested, UMEM_BUFTAG_ALLOCATED, d);
}

/* Slack bytes and tag of an allocated buffer. */
static UMEM_ALWAYS_INLINE bool
check_redzone(const struct umem_buffer *buf, struct damage *d)
{
    uint64_t requested = buf->buf_bufctl->bc_size;
    struct umem_tag_words right = umem_tag_words(buf->buf_bufctl, requested, UMEM_BUFTAG_ALLOCATED);

    return UMEM_LIKELY(umem_slack_and_tag_hold(buf->buf_addr + requested, tag_of(buf), right)) ||
           bad_redzone(buf, d);
}

/* The tag in front is damaged, by this buffer or by its own. */
static UMEM_COLD bool
bad_front(const struct umem_buffer *buf, struct umem_bufctl *owner, struct damage *d)
{
    const struct umem_buftag *tag = front_of(buf);
    bool allocated = owner == buf->buf_before && umem_bufctl_state(owner) == UMEM_BUFFER_ALLOCATED;
    struct umem_buftag right = tag_for(owner, allocated ? owner->bc_size : 0,
                                       allocated ? UMEM_BUFTAG_ALLOCATED : UMEM_BUFTAG_FREE);
    size_t at = tag_difference(tag, &right);

    if (at == sizeof(*tag))
        return true; /* seen half-way between free and allocated after all */
    if (owner != buf->buf_before || !is_overrun(tag, &right, at))
        return bad_tag_at(d, UMERR_UNDERRUN, buf, at - sizeof(*tag), &right, tag, at);
    struct umem_buffer before = neighbour(buf, owner);
    if (allocated)
        return check_redzone(&before, d); /* which began in its slack, perhaps */
    return bad_tag_at(d, UMERR_BADBUFTAG, &before, tag_offset(buf) + at, &right, tag, at);
}

/* Whether the bytes before a buffer are as they should be. */
static UMEM_ALWAYS_INLINE bool
check_front(const struct umem_buffer *buf, struct damage *d)
{
    struct umem_bufctl *owner = buf->buf_before != NULL ? buf->buf_before : buf->buf_bufctl;

    if (UMEM_LIKELY(umem_tag_is_of(front_of(buf), owner)))
        return true;
    /* A neighbour that was never handed out has no tag yet. */
    if (owner == buf->buf_before &&
        (umem_bufctl_state(owner) == UMEM_BUFFER_RAW || was_reported(owner)))
        return true;
    return bad_front(buf, owner, d);
}

/* The 32-bit word of a free buffer that does not hold the pattern is reported. */
static UMEM_COLD bool
bad_fill(const struct umem_buffer *buf, struct damage *d)
{
    size_t size = umem_min(buf->buf_space, umem_options.opt_maxverify);
    size_t at = umem_first_difference(buf->buf_addr, size, UMEM_FREE_WORD);
    uint32_t found = 0;

    if (UMEM_LIKELY(at == size))
        return true;
    at = umem_align_down(at, sizeof(found));
    memcpy(&found, buf->buf_addr + at, umem_min(sizeof(found), buf->buf_space - at));
    return bad_at(d, UMERR_MODIFIED, buf, at, UMEM_FREE_PATTERN, found);
}

/* Whether a free buffer still holds the pattern, as far as is looked (maxverify). */
static UMEM_ALWAYS_INLINE bool
check_fill(const struct umem_buffer *buf, struct damage *d)
{
    size_t size = umem_min(buf->buf_space, umem_options.opt_maxverify);

    return UMEM_LIKELY(umem_is_run(buf->buf_addr, size, UMEM_FREE_WORD)) || bad_fill(buf, d);
}

static inline void
write_slack(const struct umem_buffer *buf, size_t requested)
{
    char *end = buf->buf_addr + requested;

    umem_fill(end, buf->buf_space - requested, umem_slack_word(end));
    write_tag(buf, requested, UMEM_BUFTAG_ALLOCATED);
}

/* The fill of fresh memory, the slack behind and the tag. */
static inline void
fill_and_write_slack(const struct umem_buffer *buf, size_t requested)
{
    if (UMEM_UNLIKELY((((uintptr_t)buf->buf_addr | buf->buf_space) & 7) != 0)) {
        umem_fill(buf->buf_addr, requested, UMEM_UNINITIALIZED_WORD);
        write_slack(buf, requested);
        return;
    }
    umem_fill_fresh_and_slack(buf->buf_addr, buf->buf_space, requested);
    write_tag(buf, requested, UMEM_BUFTAG_ALLOCATED);
}

/* Everything of a free buffer but its state. */
static UMEM_ALWAYS_INLINE bool
check_free(const struct umem_buffer *buf, struct damage *d)
{
    const char *gap = buf->buf_addr + buf->buf_space;

    if ((buf->buf_flags & UMF_DEADBEEF) != 0 && !check_fill(buf, d))
        return false;
    if ((buf->buf_flags & UMF_REDZONE) == 0)
        return true;
    if (UMEM_UNLIKELY(!umem_is_run(gap, buf->buf_gap, umem_slack_word(gap)))) {
        size_t at = umem_first_difference(gap, buf->buf_gap, umem_slack_word(gap));
        return bad_at(d, UMERR_MODIFIED, buf, buf->buf_space + at, UMEM_SLACK_BYTE(gap + at),
                      (unsigned char)gap[at]);
    }
    return check_tag(buf, 0, UMEM_BUFTAG_FREE, d);
}

bool
umem_debug_check_free(const struct umem_buffer *buf)
{
    struct damage d;

    if (UMEM_UNLIKELY(umem_bufctl_state(buf->buf_bufctl) != UMEM_BUFFER_FREE))
        return bad(UMERR_BADBUFCTL, buf);
    return check_free(buf, &d) || tell(buf, &d);
}

static void
audit(const struct umem_buffer *buf, enum umem_event_kind kind)
{
    umem_audit_logged(buf->buf_bufctl, buf->buf_frame, buf->buf_addr, buf->buf_cache, kind);
}

bool
umem_debug_alloc(const struct umem_buffer *buf, size_t requested)
{
    struct umem_bufctl *bc = buf->buf_bufctl;
    uint32_t state = umem_bufctl_state(bc);
    struct damage d;

    UMEM_ASSERT(requested <= buf->buf_space);
    if (UMEM_UNLIKELY(state != UMEM_BUFFER_FREE && state != UMEM_BUFFER_RAW))
        return bad(UMERR_BADBUFCTL, buf);
    /* What is raw was never anybody's. */
    if (state == UMEM_BUFFER_FREE && UMEM_UNLIKELY(!check_free(buf, &d)) && !tell(buf, &d))
        return false;
    umem_bufctl_turn(bc);
    umem_bufctl_set_size(bc, requested);
    if ((buf->buf_flags & UMF_BUFTAG) == UMF_BUFTAG)
        fill_and_write_slack(buf, requested);
    else if ((buf->buf_flags & UMF_DEADBEEF) != 0)
        umem_fill(buf->buf_addr, buf->buf_space, UMEM_UNINITIALIZED_WORD);
    else if ((buf->buf_flags & UMF_REDZONE) != 0)
        write_slack(buf, requested);
    if ((buf->buf_flags & UMF_AUDIT) != 0)
        audit(buf, UMEM_EVENT_ALLOC);
    if (UMEM_UNLIKELY(!umem_bufctl_set_state(bc, state, UMEM_BUFFER_ALLOCATED)))
        return bad(UMERR_BADBUFCTL, buf);
    return true;
}

/* The caller states another size than was asked for. */
static UMEM_COLD bool
bad_size(const struct umem_buffer *buf, size_t stated)
{
    struct umem_error_info err = {.err_kind = UMERR_BADSIZE,
                                  .err_addr = buf->buf_addr,
                                  .err_buffer = buf,
                                  .err_cache = buf->buf_cache,
                                  .err_size = stated,
                                  .err_alloc_size = (size_t)buf->buf_bufctl->bc_size};

    umem_report(&err);
    return false;
}

/* Everything of an allocated buffer but its state; reported. */
static UMEM_ALWAYS_INLINE bool
check_allocated(const struct umem_buffer *buf, size_t stated)
{
    const struct umem_bufctl *bc = buf->buf_bufctl;
    struct damage d;

    if (UMEM_UNLIKELY(bc->bc_size > buf->buf_space))
        return bad(UMERR_BADBUFCTL, buf);
    if (UMEM_UNLIKELY(stated != SIZE_MAX && stated != bc->bc_size))
        return bad_size(buf, stated);
    if ((buf->buf_flags & UMF_REDZONE) == 0)
        return true;
    return (check_front(buf, &d) || tell(buf, &d)) && (check_redzone(buf, &d) || tell(buf, &d));
}

/* A free of something that is not allocated. */
static UMEM_COLD bool
bad_state(const struct umem_buffer *buf)
{
    switch (umem_bufctl_state(buf->buf_bufctl)) {
    case UMEM_BUFFER_FREE:
        return bad(UMERR_DUPFREE, buf);
    case UMEM_BUFFER_RAW:
        return bad(UMERR_BADADDR, buf);
    default:
        return bad(UMERR_BADBUFCTL, buf);
    }
}

bool
umem_debug_free(const struct umem_buffer *buf, size_t stated)
{
    struct umem_bufctl *bc = buf->buf_bufctl;
    struct umem_transaction now;

    /* Where slack begins is known only when the bufctl has come from memory: both at once. */
    if ((buf->buf_flags & UMF_REDZONE) != 0)
        __builtin_prefetch(tag_of(buf), 1);
    if ((buf->buf_flags & UMF_AUDIT) != 0) {
        umem_audit_fetch(bc);
        now = umem_audit(buf->buf_frame);
    }
    if (UMEM_UNLIKELY(umem_bufctl_state(bc) != UMEM_BUFFER_ALLOCATED))
        return bad_state(buf);
    /* Checked while it still counts as allocated, which is what a report is to say. */
    if (UMEM_UNLIKELY(!check_allocated(buf, stated)))
        return false;
    if (UMEM_UNLIKELY(!umem_bufctl_set_state(bc, UMEM_BUFFER_ALLOCATED, UMEM_BUFFER_FREE)))
        return bad_state(buf);
    if ((buf->buf_flags & UMF_AUDIT) != 0)
        umem_audit_record(bc, &now, buf->buf_addr, buf->buf_cache, UMEM_EVENT_FREE);
    return true;
}

void
umem_debug_fill_free(const struct umem_buffer *buf)
{
    if ((buf->buf_flags & UMF_CONTENTS) != 0)
        umem_contents_log(buf->buf_addr, umem_min((size_t)buf->buf_bufctl->bc_size,
                                                  umem_options.opt_contents_bytes));
    if ((buf->buf_flags & UMF_DEADBEEF) != 0)
        umem_fill(buf->buf_addr, buf->buf_space, UMEM_FREE_WORD);
    if ((buf->buf_flags & UMF_REDZONE) != 0)
        write_tag(buf, 0, UMEM_BUFTAG_FREE);
    umem_bufctl_turn(buf->buf_bufctl);
}

void
umem_debug_fill_fresh(char *addr, size_t size)
{
    umem_fill(addr, size, UMEM_UNINITIALIZED_WORD);
}

void
umem_debug_raw(const struct umem_buffer *buf)
{
    struct umem_bufctl *bc = buf->buf_bufctl;

    if ((buf->buf_flags & UMF_AUDIT) != 0)
        bc->bc_last = bc->bc_prev = (struct umem_transaction){.txn_when = 0};
    bc->bc_size = 0;
    /* What neighbours and verifiers read. */
    __atomic_store_n(&bc->bc_state, UMEM_BUFFER_RAW, __ATOMIC_RELAXED);
    __atomic_store_n(&bc->bc_turns, 0, __ATOMIC_RELAXED);
    if ((buf->buf_flags & UMF_REDZONE) == 0)
        return;
    char *gap = buf->buf_addr + buf->buf_space;
    umem_fill(gap, buf->buf_gap, umem_slack_word(gap));
    if (buf->buf_before == NULL) {
        umem_tag_store(front_of(buf), umem_tag_words(buf->buf_bufctl, 0, UMEM_BUFTAG_FREE));
    }
}

void
umem_debug_resize(const struct umem_buffer *buf, size_t requested)
{
    struct umem_bufctl *bc = buf->buf_bufctl;
    size_t old = (size_t)bc->bc_size;

    UMEM_ASSERT(requested <= buf->buf_space);
    if (UMEM_UNLIKELY(bc->bc_state != UMEM_BUFFER_ALLOCATED)) {
        (void)bad_state(buf);
        return;
    }
    /* What lies past the old end is about to be the program's: last chance to look. */
    if (!check_allocated(buf, SIZE_MAX))
        return;
    if ((buf->buf_flags & UMF_DEADBEEF) != 0 && requested > old)
        umem_fill(buf->buf_addr + old, requested - old, UMEM_UNINITIALIZED_WORD);
    umem_bufctl_set_size(bc, requested);
    if ((buf->buf_flags & UMF_REDZONE) != 0)
        write_slack(buf, requested);
    if ((buf->buf_flags & UMF_AUDIT) != 0) {
        /* It stays one allocation, made here: the transaction before it is kept. */
        struct umem_transaction before = bc->bc_prev;
        audit(buf, UMEM_EVENT_RESIZE);
        bc->bc_prev = before;
    }
}

/* Whether a buffer is as it should be, or changes hands just now. */
static bool
seems_sound(const struct umem_buffer *buf, struct damage *d)
{
    const struct umem_bufctl *bc = buf->buf_bufctl;
    uint32_t turns = turns_of(bc), state = umem_bufctl_state(bc);
    bool allocated = state == UMEM_BUFFER_ALLOCATED, redzone = (buf->buf_flags & UMF_REDZONE) != 0;

    if ((!allocated && state != UMEM_BUFFER_FREE) || (turns & 1) != allocated || was_reported(bc) ||
        bc->bc_size > buf->buf_space)
        return true;
    /* A neighbour's fault is found at the neighbour. */
    bool sound = !redzone || check_front(buf, d) || !is_fault_of(buf, d);
    if (sound && (!allocated || redzone))
        sound = (allocated ? check_redzone(buf, d) : check_free(buf, d)) || !is_fault_of(buf, d);
    if (UMEM_LIKELY(sound))
        return true;
    atomic_thread_fence(memory_order_acquire);
    return umem_bufctl_state(bc) != state || turns_of(bc) != turns;
}

bool
umem_debug_verify(const struct umem_buffer *buf)
{
    struct damage d;

    /*
     * The sequence comes round after 32 allocations: where this thread was set
     * aside for so long, right in a look, the next look finds nothing.
     */
    for (unsigned looks = 0; looks < VERIFY_LOOKS; looks++)
        if (UMEM_LIKELY(seems_sound(buf, &d)))
            return true;
    (void)tell(buf, &d);
    return false;
}
