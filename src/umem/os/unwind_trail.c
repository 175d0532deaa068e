/* SPDX-License-Identifier: MIT */
/*
 * unwind_trail.c - walks that remember earlier ones (os/unwind.h).
 *
 * 1. The tree.  A node is a stack from one frame outwards: that frame's state
 *    (pc, sp, and rbp where it matters) and the node of the next frame.  So a
 *    node stands for one stack, exactly, and what its user noted at it (an id in
 *    the stack depot) holds for each walk that comes to it.
 *
 * 2. Following.  By a rule of the common kinds the next state follows from this
 *    one, the word below the next sp (the return address) and the word where
 *    rbp was saved.  Where a walk is at a node's state, and these words are what
 *    the next node says, it is at the next node; and so on outwards.  That is
 *    all that most walks do: two comparisons a frame, no rule, no hash.
 *
 *    From node to node the processor waits for the number of the next one.  So
 *    the words of a stack that comes often are put into a row: places, and what
 *    is there, to be compared one after the other.  Rows are a cache: when there
 *    is no room for another one all are given up.
 *
 * 3. rbp.  In code without frame pointers it holds data, and another value each
 *    time.  It matters where the frame's rule is by rbp, or leaves it as it is
 *    and it matters further out; it is neither kept nor compared elsewhere.
 *
 * 4. Changes.  Where a word differs the walk goes on by the rules, from there,
 *    until it is at the state of a node again, which it follows.  Then the
 *    frames that have no node, and those whose outer frames are others now, get
 *    their nodes, from the outermost on; mostly such a stack was met before.
 *
 * 5. Ends.  The outer node may be none: TRAIL_UNKNOWN, no walk came further
 *    (as many frames as were asked for); TRAIL_END, there is nothing; TRAIL_HARD,
 *    a frame that is not found by the common rules: then nothing is remembered
 *    but that.  What is unknown is filled in by the walk that comes further,
 *    since notes are on what had all the frames that were asked for.
 *
 * Only the thread's own stack is remembered, whose proven part stays readable
 * (unwind_stack.c), and only words between the present sp and its end are
 * looked at.  Rules that are forgotten (unloaded objects) end a trail.
 *
 * State: the caller's trail.  No lock but the metadata pool's, to grow;
 * async-signal-safe.
 */
#include "os/unwind.h"

#include <errno.h>
#include <string.h>

#include "os/meta.h"
#include "os/unwind_impl.h"

#if defined(__x86_64__)

enum { TRAIL_UNKNOWN, TRAIL_END, TRAIL_HARD, TRAIL_FIRST };

#define GROWTH_SHIFT 2 /* each time four times as many: few copies */
/* No small number of walks in turn comes by the same ones of these only. */
#define ROW_EVERY 13
#define ROW_FIRST 1 /* a node's row 0 is none */
_Static_assert(OS_TRAIL_SHIFT_MAX <= 16, "node_row numbers the words");
/* The pc of nodes that are none: no address, and so no word that leads to them. */
#define NO_PC ((uintptr_t)1 << 63)

static inline int32_t
place_of(const struct os_trail *trail, uintptr_t addr)
{
    return (int32_t)(addr - trail->trail_top);
}

static inline uintptr_t
address_of(const struct os_trail *trail, int32_t place)
{
    return trail->trail_top + (uintptr_t)(intptr_t)place;
}

static const uint64_t by_frame = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
static const uint64_t by_outer = UINT64_C(0xd1b54a32d192ed03); /* 2^64 / plastic number, odd */

static inline uint64_t
hash_of(uintptr_t pc, int32_t sp)
{
    return (pc ^ (uint64_t)(uint32_t)sp << 32) * by_frame;
}

static inline uint32_t *
last_of(const struct os_trail *trail, uintptr_t pc, int32_t sp)
{
    return trail->trail_last[hash_of(pc, sp) >> (64 - trail->trail_shift)];
}

/* A node was met that may not be the last one of its frame: it is now. */
static inline void
set_last(const struct os_trail *trail, const struct os_trail_node *node)
{
    uint32_t *last = last_of(trail, node->node_pc, node->node_sp);
    uint32_t n = (uint32_t)(node - trail->trail_node);
    unsigned way = 0;

    while (way < OS_TRAIL_WAYS - 1 && last[way] != n)
        way++;
    for (; way > 0; way--)
        last[way] = last[way - 1];
    last[0] = n;
}

static inline uint32_t *
bucket_of(const struct os_trail *trail, const struct os_trail_node *node)
{
    uint64_t hash = hash_of(node->node_pc, node->node_sp) + node->node_outer * by_outer;

    return &trail->trail_bucket[hash >> (64 - trail->trail_shift)];
}

static bool
make_room(struct os_trail *trail, uint32_t shift)
{
    int saved = errno;
    struct os_trail_node *node = umem_meta_alloc(OS_TRAIL_ROOM(shift));

    errno = saved;
    if (node == NULL)
        return false;
    trail->trail_shift = shift;
    trail->trail_node = node;
    trail->trail_word = (void *)(node + ((size_t)1 << shift));
    trail->trail_bucket = (void *)(trail->trail_word + ((size_t)1 << shift));
    trail->trail_last = (void *)(trail->trail_bucket + ((size_t)1 << shift));
    return true;
}

static inline void
enter(struct os_trail *trail, uint32_t n)
{
    struct os_trail_node *node = &trail->trail_node[n];
    uint32_t *bucket = bucket_of(trail, node);

    node->node_next = *bucket;
    *bucket = n;
    set_last(trail, node);
}

/* Moves to a larger block, in which nodes keep their numbers.  False: there is none. */
static UMEM_COLD bool
grow(struct os_trail *trail)
{
    struct os_trail_node *old = trail->trail_node;
    uint32_t shift = trail->trail_shift;

    if (shift == OS_TRAIL_SHIFT_MAX ||
        !make_room(trail, (uint32_t)umem_min(shift + GROWTH_SHIFT, OS_TRAIL_SHIFT_MAX)))
        return false;
    memcpy(trail->trail_node, old, trail->trail_count * sizeof(*old));
    for (uint32_t n = TRAIL_FIRST; n < trail->trail_count; n++) {
        trail->trail_node[n].node_row = 0;
        enter(trail, n);
    }
    trail->trail_words = ROW_FIRST;
    umem_meta_free(old, OS_TRAIL_ROOM(shift));
    return true;
}

/* An empty trail of this stack.  False: no memory. */
static UMEM_COLD bool
start(struct os_trail *trail, uint32_t max)
{
    trail->trail_top = unwind_stack.own_top;
    trail->trail_forgets = atomic_load_explicit(&unwind_forgets, memory_order_relaxed);
    trail->trail_max = max;
    trail->trail_count = TRAIL_FIRST;
    if (trail->trail_shift == 0 && !make_room(trail, OS_TRAIL_SHIFT_MIN)) {
        trail->trail_max = 0;
        return false;
    }
    trail->trail_words = ROW_FIRST;
    memset(trail->trail_bucket, 0, (1 + OS_TRAIL_WAYS) * sizeof(uint32_t) << trail->trail_shift);
    for (uint32_t n = 0; n < TRAIL_FIRST; n++)
        trail->trail_node[n] = (struct os_trail_node){.node_pc = NO_PC};
    return true;
}

/* Whether the cursor is at the state of a node. */
static UMEM_ALWAYS_INLINE bool
is_met(const struct os_trail *trail, const struct os_trail_node *node,
       const struct unwind_cursor *c)
{
    return node->node_pc == c->pc && node->node_sp == place_of(trail, c->sp) &&
           (node->node_bp == 0 || address_of(trail, node->node_bp) == c->bp);
}

/* How far a walk has come by nodes that were there. */
struct run {
    const struct os_trail_node *run_node; /* where it began; NULL: there is none */
    const struct os_trail_node *run_end;  /* the last that the stack leads to */
    uint32_t run_left;                    /* frames beyond, at most */
};

/* Whether there is nothing further out to be found. */
static inline bool
is_whole(const struct run *run)
{
    return run->run_node != NULL && (run->run_left == 0 || run->run_end->node_outer == TRAIL_END ||
                                     run->run_end->node_outer == TRAIL_HARD);
}

static inline bool
is_hard(const struct run *run)
{
    return run->run_left > 0 && run->run_end->node_outer == TRAIL_HARD;
}

static inline uint32_t
number_of(const struct os_trail *trail, const struct os_trail_node *node)
{
    return (uint32_t)(node - trail->trail_node);
}

/* Whether the stack says the return address of a node. */
static UMEM_ALWAYS_INLINE UNWIND_RAW_STACK bool
leads_to(const struct os_trail *trail, const struct os_trail_node *node)
{
    return unwind_load(address_of(trail, node->node_sp) - sizeof(uintptr_t)) == node->node_pc;
}

/* Where the rbp of the frame further out is saved; node_slot is not 0. */
static inline uintptr_t
bp_address(const struct os_trail *trail, const struct os_trail_node *node,
           const struct os_trail_node *outer)
{
    return address_of(trail, outer->node_sp) - node->node_slot * sizeof(uintptr_t);
}

/* The same for rbp, where it matters and has changed. */
static UMEM_ALWAYS_INLINE UNWIND_RAW_STACK bool
leads_to_bp(const struct os_trail *trail, const struct os_trail_node *node,
            const struct os_trail_node *outer)
{
    return outer->node_bp == 0 || node->node_slot == 0 ||
           unwind_load(bp_address(trail, node, outer)) == address_of(trail, outer->node_bp);
}

/* From a node that the cursor is at, as far as the stack leads to where it led before. */
static UMEM_ALWAYS_INLINE UNWIND_RAW_STACK struct run
follow_from(const struct os_trail *trail, const struct os_trail_node *from, uint32_t left)
{
    const struct os_trail_node *node = from, *outer;

    for (; --left > 0 && node->node_outer >= TRAIL_FIRST; node = outer) {
        outer = &trail->trail_node[node->node_outer];
        if (!leads_to(trail, outer) || !leads_to_bp(trail, node, outer))
            break;
    }
    return (struct run){from, node, left};
}

/* By the nodes of the cursor's frame that were met last: one that is whole, or leads furthest. */
static UMEM_ALWAYS_INLINE UNWIND_RAW_STACK struct run
follow(const struct os_trail *trail, const struct unwind_cursor *c, uint32_t left)
{
    const uint32_t *last = last_of(trail, c->pc, place_of(trail, c->sp));
    struct run run = {.run_left = left};

    for (unsigned way = 0; way < OS_TRAIL_WAYS && last[way] != 0 && !is_whole(&run); way++) {
        const struct os_trail_node *node = &trail->trail_node[last[way]];
        if (!is_met(trail, node, c))
            continue;
        struct run other = follow_from(trail, node, left);
        if (run.run_node == NULL || other.run_left < run.run_left)
            run = other;
    }
    return run;
}

/* The frames of nodes [n, end], which may need others; the cursor is then at the last of them. */
static UNWIND_RAW_STACK uint32_t
open_nodes(struct os_trail *trail, uint32_t n, uint32_t end, struct unwind_cursor *c,
           uint32_t count)
{
    for (;; n = trail->trail_node[n].node_outer) {
        const struct os_trail_node *node = &trail->trail_node[n];
        c->pc = node->node_pc;
        c->sp = address_of(trail, node->node_sp);
        trail->trail_frame[count++] = (struct os_trail_frame){
            .frame_pc = c->pc,
            .frame_sp = c->sp,
            .frame_bp = c->bp,
            .frame_slot = node->node_slot,
            .frame_node = n,
            .frame_uses_bp = node->node_bp != 0, /* of the last one a step will say */
        };
        if (n == end)
            return count;
        if (node->node_slot != 0)
            c->bp = unwind_load(bp_address(trail, node, &trail->trail_node[node->node_outer]));
    }
}

/*
 * The node of a frame in front of an outer node: its own one, a known one, or a
 * new one; 0: it cannot have one.
 */
static uint32_t
node_of(struct os_trail *trail, const struct os_trail_frame *frame, uint32_t outer)
{
    struct os_trail_node *node = &trail->trail_node[frame->frame_node],
                         new = {.node_pc = frame->frame_pc,
                                .node_sp = place_of(trail, frame->frame_sp),
                                .node_slot = frame->frame_slot,
                                .node_outer = outer};
    bool needs_bp =
        frame->frame_uses_bp || (frame->frame_slot == 0 && trail->trail_node[outer].node_bp != 0);

    if (needs_bp) {
        new.node_bp = place_of(trail, frame->frame_bp);
        if (new.node_bp == 0 || address_of(trail, new.node_bp) != frame->frame_bp)
            return 0; /* 0 says that it does not matter */
    }
    if (frame->frame_node != 0 && node->node_bp == new.node_bp &&
        ((node->node_outer == outer && node->node_slot == new.node_slot) ||
         node->node_outer == TRAIL_UNKNOWN)) {
        node->node_slot = new.node_slot;
        node->node_outer = outer;
        return frame->frame_node;
    }
    for (uint32_t n = *bucket_of(trail, &new); n != 0; n = node->node_next) {
        node = &trail->trail_node[n];
        if (node->node_pc == new.node_pc && node->node_sp == new.node_sp &&
            node->node_bp == new.node_bp && node->node_slot == new.node_slot &&
            node->node_outer == outer) {
            set_last(trail, node);
            return n;
        }
    }
    if (trail->trail_count >> trail->trail_shift != 0 && !grow(trail))
        return 0;
    node = &trail->trail_node[trail->trail_count];
    *node = new;
    enter(trail, trail->trail_count);
    return trail->trail_count++;
}

/* The nodes of frames that are there as a whole, in front of an outer one; 0: no room. */
static uint32_t
remember(struct os_trail *trail, uint32_t count, uint32_t outer)
{
    uint32_t n = outer;

    while (count-- > 0) {
        n = node_of(trail, &trail->trail_frame[count], n);
        if (UMEM_UNLIKELY(n == 0)) {
            trail->trail_max = 0; /* start anew */
            return 0;
        }
    }
    return n;
}

/* A step outwards from the last frame: TRAIL_UNKNOWN where there is another one, or which end. */
static uint32_t
step(struct os_trail *trail, uint32_t count, struct unwind_cursor *c, struct unwind_window *win,
     bool *stale)
{
    struct os_trail_frame *frame = &trail->trail_frame[count - 1];
    struct unwind_used used;
    enum unwind_step done = unwind_step(c, win, &used);

    *stale = done == UNWIND_STEP_AGAIN;
    if (UMEM_UNLIKELY(*stale || used.used_hard))
        return TRAIL_HARD;
    frame->frame_uses_bp = used.used_bp;
    frame->frame_slot = used.used_slot;
    return done == UNWIND_STEP_END ? TRAIL_END : TRAIL_UNKNOWN;
}

/*
 * The node of a stack, of which a run is known; 0: not here.  The cursor is where
 * the run began.
 */
static UMEM_NOINLINE UNWIND_RAW_STACK uint32_t
walk_on(struct os_trail *trail, struct unwind_cursor *c, struct run run)
{
    struct unwind_window win;
    uint32_t count = 0, outer = TRAIL_UNKNOWN;
    bool stale = false;

    unwind_window_start(&win, c->sp);
    for (;; run = follow(trail, c, run.run_left)) {
        if (is_whole(&run)) {
            bool hard = is_hard(&run);
            uint32_t n = remember(trail, count, number_of(trail, run.run_node));
            return hard ? 0 : n;
        }
        if (run.run_node != NULL) {
            count = open_nodes(trail, number_of(trail, run.run_node), number_of(trail, run.run_end),
                               c, count);
        } else {
            trail->trail_frame[count++] =
                (struct os_trail_frame){.frame_pc = c->pc, .frame_sp = c->sp, .frame_bp = c->bp};
            run.run_left--;
        }
        if (run.run_left > 0)
            outer = step(trail, count, c, &win, &stale);
        if (run.run_left == 0 || outer != TRAIL_UNKNOWN)
            break;
    }
    if (UMEM_UNLIKELY(stale))
        return 0;
    uint32_t n = remember(trail, count, outer);
    return outer != TRAIL_HARD ? n : 0;
}

/* Whether a walk may be by the trail: same stack, same rules, and notes on as many frames. */
static inline bool
suits(const struct os_trail *trail, uint32_t max)
{
    return trail->trail_top == unwind_stack.own_top && trail->trail_max == max &&
           trail->trail_forgets == atomic_load_explicit(&unwind_forgets, memory_order_relaxed);
}

/* Whether all words from sp outwards may be read, and have a place. */
static inline bool
is_own(uintptr_t sp)
{
    return unwind_own_start(sp) != 0 && unwind_stack.own_top - sp <= INT32_MAX;
}

/* One walk of so many has one of its frames looked at. */
static UMEM_NOINLINE bool
is_stale(const struct os_trail *trail, uint32_t n)
{
    uint32_t skip = trail->trail_walks / UNWIND_WALKS_CHECKED % trail->trail_max;

    for (uint32_t outer; skip > 0; skip--, n = outer) {
        outer = trail->trail_node[n].node_outer;
        if (outer < TRAIL_FIRST)
            break;
    }
    return unwind_is_stale(trail->trail_node[n].node_pc);
}

/* The frame whose caller's call is the first of a walk. */
static UMEM_ALWAYS_INLINE UNWIND_RAW_STACK struct unwind_cursor
cursor_at(uintptr_t frame)
{
    return (struct unwind_cursor){.pc = unwind_load(frame + sizeof(uintptr_t)),
                                  .sp = frame + 2 * sizeof(uintptr_t),
                                  .bp = unwind_load(frame),
                                  .exact = false};
}

/* Whether the words of a row are what they were. */
static UMEM_ALWAYS_INLINE UNWIND_RAW_STACK bool
holds(const struct os_trail *trail, uint32_t row)
{
    const struct os_trail_word *word = &trail->trail_word[row], *end = word + word->word_is;

    while (word != end && unwind_load(address_of(trail, word[1].word_at)) == word[1].word_is)
        word++;
    return word == end;
}

/* A word more in the row that is being made.  False: there is no room. */
static bool
add_word(struct os_trail *trail, struct os_trail_word word)
{
    if (trail->trail_words >> trail->trail_shift != 0)
        return false;
    trail->trail_word[trail->trail_words++] = word;
    return true;
}

/* The row of a node, whose stack is known as far as it is asked for.  False: there is no room. */
static bool
make_row(struct os_trail *trail, struct os_trail_node *from)
{
    const struct os_trail_node *node = from, *outer;
    uint32_t row = trail->trail_words;
    bool fits = add_word(trail, (struct os_trail_word){0});

    for (uint32_t left = trail->trail_max; fits && --left > 0 && node->node_outer >= TRAIL_FIRST;
         node = outer) {
        outer = &trail->trail_node[node->node_outer];
        fits = add_word(
            trail, (struct os_trail_word){.word_at = outer->node_sp - (int32_t)sizeof(uintptr_t),
                                          .word_is = outer->node_pc});
        if (fits && outer->node_bp != 0 && node->node_slot != 0)
            fits = add_word(trail, (struct os_trail_word){
                                       .word_at = place_of(trail, bp_address(trail, node, outer)),
                                       .word_is = address_of(trail, outer->node_bp)});
    }
    if (!fits)
        return false;
    trail->trail_word[row].word_is = trail->trail_words - row - 1;
    from->node_row = (uint16_t)row;
    return true;
}

/* One stack of so many that have none gets a row: who comes often has one soon. */
static void
make_row_perhaps(struct os_trail *trail, struct os_trail_node *node)
{
    if (trail->trail_walks % ROW_EVERY != 0 || node->node_row != 0 || make_row(trail, node))
        return;
    for (uint32_t n = TRAIL_FIRST; n < trail->trail_count; n++)
        trail->trail_node[n].node_row = 0;
    trail->trail_words = ROW_FIRST;
}

/* Any walk. */
static UMEM_NOINLINE UNWIND_RAW_STACK uint32_t
walk_any(struct os_trail *trail, uint32_t max, uintptr_t frame)
{
    struct unwind_cursor c = cursor_at(frame);
    const struct unwind_cursor at_start = c;

    if (UMEM_UNLIKELY(!is_own(c.sp))) {
        struct unwind_window win;
        unwind_window_start(&win, c.sp); /* which may find that it is in there */
    }
    if (UMEM_UNLIKELY(!is_own(c.sp) || (!suits(trail, max) && !start(trail, max))))
        return 0;
    struct run run = follow(trail, &c, max);
    uint32_t n;
    if (is_whole(&run) && !is_hard(&run)) {
        n = number_of(trail, run.run_node);
        make_row_perhaps(trail, &trail->trail_node[n]);
    } else {
        n = walk_on(trail, &c, run);
    }
    /* There was no room for another node: anew, with all of it. */
    if (UMEM_UNLIKELY(trail->trail_max == 0) && start(trail, max)) {
        c = at_start;
        n = walk_on(trail, &c, (struct run){.run_left = max});
    }
    if (UMEM_UNLIKELY(++trail->trail_walks % UNWIND_WALKS_CHECKED == 0) && n != 0 &&
        is_stale(trail, n))
        n = 0;
    return n;
}

/* Here only what most walks come to: the stack is one that comes often. */
UMEM_NOINLINE UNWIND_RAW_STACK uint32_t
os_unwind_trail(struct os_trail *trail, uint32_t max, const void *frame)
{
    uintptr_t at = (uintptr_t)(frame != NULL ? frame : __builtin_frame_address(0));
    const struct unwind_cursor c = cursor_at(at);

    if (UMEM_UNLIKELY(!is_own(c.sp) || !suits(trail, max) ||
                      (trail->trail_walks + 1) % UNWIND_WALKS_CHECKED == 0))
        return walk_any(trail, max, at);
    const uint32_t *last = last_of(trail, c.pc, place_of(trail, c.sp));
    for (unsigned way = 0; way < OS_TRAIL_WAYS && last[way] != 0; way++) {
        const struct os_trail_node *node = &trail->trail_node[last[way]];
        if (is_met(trail, node, &c) && node->node_row != 0 && holds(trail, node->node_row)) {
            trail->trail_walks++;
            return last[way];
        }
    }
    return walk_any(trail, max, at);
}

uint32_t
os_trail_frames(const struct os_trail *trail, uint32_t node, uintptr_t *frames)
{
    uint32_t count = 0;

    for (uint32_t n = node; n >= TRAIL_FIRST && count < trail->trail_max;
         n = trail->trail_node[n].node_outer)
        frames[count++] = trail->trail_node[n].node_pc;
    return count;
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

uint32_t
os_trail_frames(const struct os_trail *trail, uint32_t node, uintptr_t *frames)
{
    (void)trail;
    (void)node;
    (void)frames;
    return 0;
}

#endif
