/* SPDX-License-Identifier: MIT */
/*
 * unwind_trail.c - walks that remember the last one (os/unwind.h says why).
 *
 * A frame of the trail is the state of the walk behind it: pc, sp, rbp.  Why
 * one that was met again may be followed without its rules: by a rule of the
 * common kinds the next state follows from this one, the word below the next
 * sp (the return address) and the word where rbp was saved.  Where this state
 * is the same and the two words are the same, so is the next state; and so on
 * outwards.  A frame that was found in any other way is *hard*: the walk goes
 * through it again, each time.
 *
 * So that nothing is asked twice, two comparisons do for every kind of frame:
 * where rbp stayed the second is the first once more, and a hard frame has a
 * word to be compared that no return address is.
 *
 * Where the words differ the walk is made from there: mostly one frame has
 * another return address (a loop that calls from another line), and the
 * frames around it lie where they did.
 *
 * Only the thread's own stack is remembered, whose proven part stays readable
 * (unwind_stack.c), and only frames between the present sp and its end are
 * looked at again.  Rules that are forgotten (unloaded objects) end a trail.
 *
 * State: the caller's trail.  No lock; async-signal-safe.
 */
#include "os/unwind.h"

#include <string.h>

#include "os/unwind_impl.h"

#if defined(__x86_64__)

static void
empty(struct os_trail *trail)
{
    trail->trail_lo = trail->trail_hi = OS_TRAIL_ROOM / 2;
    trail->trail_ended = false;
}

/* In the place of a hard frame's return address. */
static const uintptr_t no_pc = 0;

static inline bool
is_hard(const struct os_trail_frame *frame)
{
    return frame->frame_pc_at == (uintptr_t)&no_pc;
}

/* How a frame at pc and sp follows from the one before: bp_at is unwind_step()'s. */
static inline void
set_words(struct os_trail_frame *frame, const struct unwind_cursor *c, uintptr_t bp_at)
{
    frame->frame_pc_at = c->sp - sizeof(uintptr_t);
    frame->frame_bp_at = bp_at;
    frame->frame_bp_seen = c->bp;
    if (bp_at == UNWIND_BP_SAME) {
        frame->frame_bp_at = frame->frame_pc_at;
        frame->frame_bp_seen = c->pc;
    }
    /* Of another stack, to which the walk may have come, nothing is known to stay readable. */
    if (UMEM_UNLIKELY(bp_at == UNWIND_BP_HARD || unwind_own_start(frame->frame_pc_at) == 0 ||
                      unwind_own_start(frame->frame_bp_at) == 0))
        frame->frame_pc_at = frame->frame_bp_at = (uintptr_t)&no_pc;
}

static inline void
put(uintptr_t *pc, struct os_trail_frame *frame, const struct unwind_cursor *c, uintptr_t bp_at)
{
    *pc = frame->frame_pc = c->pc;
    frame->frame_bp = c->bp;
    frame->frame_sp = c->sp;
    set_words(frame, c, bp_at);
}

/* Moves the frames from at on so that there is room for before ones and, behind, for max. */
static UMEM_NOINLINE uint32_t
make_room(struct os_trail *trail, uint32_t at, uint32_t before)
{
    uint32_t count = (uint32_t)umem_min(trail->trail_hi - at, OS_TRAIL_MAX - before);
    uint32_t to = (OS_TRAIL_ROOM - count - before) / 2 + before;

    memmove(&trail->trail_pc[to], &trail->trail_pc[at], count * sizeof(trail->trail_pc[0]));
    memmove(&trail->trail_note[to], &trail->trail_note[at], count * sizeof(trail->trail_note[0]));
    memmove(&trail->trail_frame[to], &trail->trail_frame[at],
            count * sizeof(trail->trail_frame[0]));
    trail->trail_ended &= at + count == trail->trail_hi;
    trail->trail_lo = to;
    trail->trail_hi = to + count;
    return to;
}

/* The first of the frames [i, end) whose state does not follow from the one before as it did. */
static inline UNWIND_RAW_STACK uint32_t
first_changed(const struct os_trail *trail, uint32_t i, uint32_t end)
{
    const struct os_trail_frame *frame = trail->trail_frame + i;
    const struct os_trail_frame *stop = trail->trail_frame + end;

    while (frame < stop && unwind_load(frame->frame_pc_at) == frame->frame_pc &&
           unwind_load(frame->frame_bp_at) == frame->frame_bp_seen)
        frame++;
    return (uint32_t)(frame - trail->trail_frame);
}

/* Whether a frame is where the walk is. */
static inline bool
met(const struct os_trail *trail, uint32_t i, const struct unwind_cursor *c)
{
    const struct os_trail_frame *frame = &trail->trail_frame[i];

    return frame->frame_sp == c->sp && frame->frame_bp == c->bp && frame->frame_pc == c->pc &&
           !is_hard(frame);
}

/*
 * The inner end: frames anew until one is met.  trail_lo is then the innermost,
 * and *at the index of the frame where the cursor is.  False: no walk.
 */
static bool
walk_inner(struct os_trail *trail, struct unwind_cursor *c, struct unwind_window *win, uint32_t max,
           uint32_t *at, bool *ended)
{
    uint32_t i = trail->trail_lo;
    uint32_t count = 0;
    uintptr_t bp_at = UNWIND_BP_SAME;

    for (*ended = false; count < max; count++) {
        /* The first is where the walk begins. */
        enum unwind_step step = count > 0 ? unwind_step(c, win, &bp_at) : UNWIND_STEP_DONE;
        *ended = step == UNWIND_STEP_END;
        if (*ended)
            break;
        if (step != UNWIND_STEP_DONE)
            return false;
        while (i < trail->trail_hi && trail->trail_frame[i].frame_sp < c->sp)
            i++;
        if (i < trail->trail_hi && bp_at != UNWIND_BP_HARD && met(trail, i, c)) {
            set_words(&trail->trail_frame[i], c, bp_at); /* from the frame before as it is now */
            break;
        }
        put(&trail->trail_new_pc[count], &trail->trail_new[count], c, bp_at);
    }
    if (*ended || count == max) {
        i = trail->trail_hi; /* nothing of the last walk is in this one */
        trail->trail_ended = *ended && bp_at != UNWIND_BP_HARD;
    }
    if (i < count || (i == trail->trail_hi && i != OS_TRAIL_ROOM / 2))
        i = make_room(trail, i, count);
    trail->trail_lo = i - count;
    for (uint32_t n = 0, to = i - count; n < count; n++, to++) {
        trail->trail_pc[to] = trail->trail_new_pc[n];
        trail->trail_frame[to] = trail->trail_new[n];
        trail->trail_note[to] = 0;
    }
    *at = i == trail->trail_hi ? i - 1 : i;
    return true;
}

/*
 * From the frame at which the cursor is outwards, to end at most: sees that the
 * frames are as they were, and walks where they are not.  Returns the end of
 * what is known, 0: no walk.
 */
static uint32_t
walk_outer(struct os_trail *trail, struct unwind_cursor *c, struct unwind_window *win, uint32_t at,
           uint32_t end)
{
    uint32_t changed = 0; /* the notes of all frames before this one are of no use */
    uint32_t i = at + 1;
    uintptr_t bp_at;

    for (;; i++) {
        uint32_t known = (uint32_t)umem_min(end, trail->trail_hi);
        uint32_t first = i;
        /* What follows from a frame that is another now has to be found out. */
        if (changed != i)
            i = first_changed(trail, i, known);
        if (i >= end || (i == trail->trail_hi && trail->trail_ended && changed != i))
            break;
        if (i != first)
            *c = (struct unwind_cursor){trail->trail_pc[i - 1], trail->trail_frame[i - 1].frame_sp,
                                        trail->trail_frame[i - 1].frame_bp, false};
        enum unwind_step step = unwind_step(c, win, &bp_at);
        if (step == UNWIND_STEP_END) {
            if (i != trail->trail_hi)
                changed = trail->trail_hi = i;
            trail->trail_ended = bp_at != UNWIND_BP_HARD;
            break;
        }
        if (step != UNWIND_STEP_DONE)
            return 0;
        if (i >= trail->trail_hi || trail->trail_frame[i].frame_sp != c->sp) {
            trail->trail_hi = changed = i + 1; /* what lay further out lies elsewhere now */
            trail->trail_ended = false;
        } else if (trail->trail_pc[i] != c->pc || trail->trail_frame[i].frame_bp != c->bp)
            changed = i + 1;
        put(&trail->trail_pc[i], &trail->trail_frame[i], c, bp_at);
    }
    if (changed != 0) {
        for (uint32_t n = trail->trail_lo; n < changed; n++)
            trail->trail_note[n] = 0;
        /* Nobody has looked whether what is behind the end goes with what is before. */
        trail->trail_ended &= i >= trail->trail_hi;
        trail->trail_hi = (uint32_t)umem_min(trail->trail_hi, i);
    }
    return i;
}

static uint32_t
walk(struct os_trail *trail, struct unwind_cursor *c, struct unwind_window *win, uint32_t max)
{
    uint32_t at;
    bool ended;

    if (!walk_inner(trail, c, win, max, &at, &ended))
        return 0;
    if (ended)
        return trail->trail_hi - trail->trail_lo;
    /* Room at the outer end too, should the walk go on there. */
    if (trail->trail_lo + max > OS_TRAIL_ROOM) {
        uint32_t behind = at - trail->trail_lo;
        at = make_room(trail, trail->trail_lo, 0) + behind;
    }
    uint32_t end = walk_outer(trail, c, win, at, trail->trail_lo + max);
    return end != 0 ? end - trail->trail_lo : 0;
}

/* Whether the trail may be followed: same stack, same rules. */
static bool
usable(const struct os_trail *trail, uintptr_t top)
{
    return trail->trail_top == top &&
           trail->trail_forgets == atomic_load_explicit(&unwind_forgets, memory_order_relaxed);
}

UMEM_NOINLINE UNWIND_RAW_STACK uint32_t
os_unwind_trail(struct os_trail *trail, uint32_t max, const void *frame)
{
    uintptr_t at = (uintptr_t)(frame != NULL ? frame : __builtin_frame_address(0));
    struct unwind_cursor c = {.pc = unwind_load(at + sizeof(uintptr_t)),
                              .sp = at + 2 * sizeof(uintptr_t),
                              .bp = unwind_load(at),
                              .exact = false};
    struct unwind_window win;

    unwind_window_start(&win, c.sp);
    if (UMEM_UNLIKELY(unwind_own_start(c.sp) == 0 || max == 0))
        return 0;
    if (UMEM_UNLIKELY(!usable(trail, unwind_stack.own_top))) {
        trail->trail_top = unwind_stack.own_top;
        trail->trail_forgets = atomic_load_explicit(&unwind_forgets, memory_order_relaxed);
        empty(trail);
    }
    uint32_t n = walk(trail, &c, &win, max);
    uint32_t walks = ++trail->trail_walks;
    if (UMEM_UNLIKELY(walks % UNWIND_WALKS_CHECKED == 0) && n > 0 &&
        unwind_is_stale(trail->trail_pc[trail->trail_lo + walks / UNWIND_WALKS_CHECKED % n]))
        n = 0;
    if (UMEM_UNLIKELY(n == 0))
        empty(trail);
    return n;
}

#else

uint32_t
os_unwind_trail(struct os_trail *trail, uint32_t max, const void *frame)
{
    (void)frame;
    (void)trail;
    (void)max;
    return 0;
}

#endif
