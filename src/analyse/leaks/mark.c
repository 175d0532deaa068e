/* SPDX-License-Identifier: MIT */
/*
 * mark.c - see mark.h.
 *
 * Each worker has a stack of its own of blocks that are yet to be scanned, and
 * takes roots, one after the other.  One that has too many blocks while others
 * have none puts some into the team's pool.  All is done when all wait there.
 * The bit of a block says who scans it: whoever clears it.
 *
 * Lock: team_lock, for the pool and the count of those who wait.
 */
#include "leaks/mark.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"

#define CACHE_LINE 64
#define TELL_EVERY ((uint64_t)16 << 20) /* bytes: some hundredths of a second */
/* Blocks fetched ahead: 16 * 4 lines are about what a core can have under way. */
#define AHEAD 16
#define AHEAD_SIZE_MAX 256
/* Fewer blocks are marked by one thread in a millisecond.  The fuzzer has smaller teams. */
#ifndef TEAM_BLOCKS_MIN
#define TEAM_BLOCKS_MIN 65536
#endif
#define TEAM_MAX 16
/* Who has so many blocks gives half of them; taken are so many at once at most. */
#define GIVE_MIN 64
#define TAKE_MAX 512

struct team {
    struct marker *team_marker;
    const struct roots *team_roots;
    size_t team_next_root; /* atomic */
    unsigned team_count;
    unsigned team_waiting; /* atomic: changed under the lock, read without */
    bool team_over;
    pthread_mutex_t team_lock;
    pthread_cond_t team_given;
    struct block *team_pool;
    size_t team_pool_count;
    size_t team_pool_room;
};

struct worker {
    struct team *w_team;
    struct heap *w_heap;
    uint64_t *w_unreached; /* the marker's */
    bool w_start_only;
    bool w_alone;
    bool w_tells;            /* the marker's progress */
    struct reader *w_reader; /* the heap's, or w_own_reader */
    struct reader w_own_reader;
    struct block *w_stack;
    size_t w_depth;
    size_t w_room;
    uint64_t w_scanned; /* bytes that are not in m_scanned yet */
    pthread_t w_thread;
};

int
marker_init(struct marker *m, struct heap *h, bool start_only)
{
    *m = (struct marker){.m_heap = h, .m_start_only = start_only};
    size_t words = h->heap_blocks / 64;
    m->m_unreached = calloc(words + 1, sizeof(*m->m_unreached));
    if (m->m_unreached == NULL)
        return -1;
    if (words > 0)
        memcpy(m->m_unreached, h->heap_live, words * sizeof(*m->m_unreached));
    return 0;
}

void
marker_fini(struct marker *m)
{
    free(m->m_unreached);
    m->m_unreached = NULL;
}

static void
fail(const struct worker *w)
{
    __atomic_store_n(&w->w_team->team_marker->m_failed, true, __ATOMIC_RELAXED);
}

static void
push(struct worker *w, struct block b)
{
    if (!memory_grow(&w->w_stack, &w->w_room, w->w_depth, sizeof(*w->w_stack))) {
        fail(w);
        return;
    }
    w->w_stack[w->w_depth++] = b;
}

/* Clears a block's bit; false where it was clear, or another worker was faster. */
static inline bool
take(const struct worker *w, uint64_t n)
{
    const uint64_t bit = (uint64_t)1 << n % 64;
    uint64_t *word = &w->w_unreached[n / 64];
    uint64_t bits = __atomic_load_n(word, __ATOMIC_RELAXED);
    if ((bits & bit) == 0)
        return false;
    if (!w->w_alone)
        return (__atomic_fetch_and(word, ~bit, __ATOMIC_RELAXED) & bit) != 0;
    *word = bits & ~bit;
    return true;
}

static inline void
mark_value(struct worker *w, addr_t value)
{
    struct block b;
    if (!heap_find(w->w_heap, value, &b))
        return;
    if (w->w_start_only && heap_block_addr(w->w_heap, b) != value)
        return;
    if (take(w, heap_block_number(w->w_heap, b)))
        push(w, b);
}

/* Words that were read; size is cut to whole ones. */
static void
mark_words8(struct worker *w, const unsigned char *data, size_t size)
{
    const addr_t low = w->w_heap->heap_lowest;
    const addr_t extent = w->w_heap->heap_highest - low;
    for (const unsigned char *end = data + (size & ~(size_t)7); data < end; data += 8) {
        uint64_t value;
        memcpy(&value, data, sizeof(value));
        if (value - low < extent)
            mark_value(w, value);
    }
}

static void
mark_words4(struct worker *w, const unsigned char *data, size_t size)
{
    for (const unsigned char *end = data + (size & ~(size_t)3); data < end; data += 4) {
        uint32_t value;
        memcpy(&value, data, sizeof(value));
        mark_value(w, value);
    }
}

static void
mark_range(struct worker *w, addr_t start, addr_t end)
{
    const unsigned word = w->w_heap->heap_offsets.off_word;
    const void *data;
    size_t got;

    start = (start + word - 1) & ~(addr_t)(word - 1);
    for (; (data = reader_next(w->w_reader, &start, end, word, &got)) != NULL; start += got) {
        if (word == 8)
            mark_words8(w, data, got);
        else
            mark_words4(w, data, got);
        w->w_scanned += got;
    }
}

/* A block about to be scanned; its data is on the way to the processor's cache. */
struct ahead {
    addr_t ahd_start;
    size_t ahd_size;
    const unsigned char *ahd_data; /* NULL: large, or not in one piece */
};

static struct ahead
look_ahead(struct worker *w)
{
    struct block b = w->w_stack[--w->w_depth];
    struct ahead a = {.ahd_start = heap_block_addr(w->w_heap, b),
                      .ahd_size = heap_block_scan(w->w_heap, b)};
    if (a.ahd_size <= AHEAD_SIZE_MAX && a.ahd_start % sizeof(uint64_t) == 0)
        a.ahd_data = target_peek(w->w_heap->heap_target, a.ahd_start, a.ahd_size);
    for (size_t i = 0; a.ahd_data != NULL && i < a.ahd_size; i += CACHE_LINE)
        __builtin_prefetch(a.ahd_data + i);
    return a;
}

static void
scan_ahead(struct worker *w, const struct ahead *a)
{
    if (a->ahd_data == NULL) {
        mark_range(w, a->ahd_start, a->ahd_start + a->ahd_size);
        return;
    }
    if (w->w_heap->heap_offsets.off_word == 8)
        mark_words8(w, a->ahd_data, a->ahd_size);
    else
        mark_words4(w, a->ahd_data, a->ahd_size);
    w->w_scanned += a->ahd_size;
}

/* --- The team --- */

/* What was scanned, for all to see now and then. */
static void
account(struct worker *w, uint64_t least)
{
    struct marker *m = w->w_team->team_marker;
    if (w->w_scanned < least)
        return;
    uint64_t sum = __atomic_add_fetch(&m->m_scanned, w->w_scanned, __ATOMIC_RELAXED);
    w->w_scanned = 0;
    if (w->w_tells && m->m_progress != NULL)
        m->m_progress(m->m_progress_arg, sum);
}

/* Gives the top of the stack to those who wait. */
static void
give(struct worker *w)
{
    struct team *team = w->w_team;
    pthread_mutex_lock(&team->team_lock);
    for (size_t n = w->w_depth / 2; n > 0; n--) {
        if (!memory_grow(&team->team_pool, &team->team_pool_room, team->team_pool_count,
                         sizeof(*team->team_pool)))
            break; /* then it keeps them */
        team->team_pool[team->team_pool_count++] = w->w_stack[--w->w_depth];
    }
    pthread_cond_signal(&team->team_given);
    pthread_mutex_unlock(&team->team_lock);
}

/* Blocks lie all over memory: some are fetched while others are scanned. */
static void
drain(struct worker *w)
{
    struct ahead ring[AHEAD];
    unsigned first = 0;
    unsigned count = 0;

    while (count > 0 || w->w_depth > 0) {
        while (count < AHEAD && w->w_depth > 0)
            ring[(first + count++) % AHEAD] = look_ahead(w);
        struct ahead a = ring[first];
        first = (first + 1) % AHEAD;
        count--;
        scan_ahead(w, &a);
        account(w, TELL_EVERY);
        if (w->w_depth >= GIVE_MIN &&
            __atomic_load_n(&w->w_team->team_waiting, __ATOMIC_RELAXED) > 0)
            give(w);
    }
}

/* Waits for blocks that another worker has too many of; false: nobody has any. */
static bool
take_from_pool(struct worker *w)
{
    struct team *team = w->w_team;
    pthread_mutex_lock(&team->team_lock);
    __atomic_add_fetch(&team->team_waiting, 1, __ATOMIC_RELAXED);
    while (team->team_pool_count == 0 && !team->team_over) {
        team->team_over = team->team_waiting == team->team_count;
        if (team->team_over)
            pthread_cond_broadcast(&team->team_given);
        else
            pthread_cond_wait(&team->team_given, &team->team_lock);
    }
    for (unsigned i = 0; i < TAKE_MAX && team->team_pool_count > 0; i++)
        push(w, team->team_pool[--team->team_pool_count]);
    __atomic_sub_fetch(&team->team_waiting, 1, __ATOMIC_RELAXED);
    bool more = !team->team_over;
    pthread_mutex_unlock(&team->team_lock);
    return more;
}

static void *
work(void *arg)
{
    struct worker *w = arg;
    const struct roots *roots = w->w_team->team_roots;
    do {
        drain(w);
        size_t i = __atomic_fetch_add(&w->w_team->team_next_root, 1, __ATOMIC_RELAXED);
        if (i < roots->count)
            mark_range(w, roots->list[i].root_start, roots->list[i].root_end);
        else if (!take_from_pool(w))
            break;
    } while (true);
    account(w, 0);
    return NULL;
}

static void
mark_registers(struct worker *w)
{
    const struct thread *threads;
    size_t n = target_threads(w->w_heap->heap_target, &threads);
    for (size_t i = 0; i < n; i++) {
        if (!threads[i].thr_stopped)
            continue;
        const unsigned char *regs = (const unsigned char *)threads[i].thr_regs;
        size_t size = threads[i].thr_nregs * sizeof(threads[i].thr_regs[0]);
        if (w->w_heap->heap_offsets.off_word == 8)
            mark_words8(w, regs, size);
        else
            mark_words4(w, regs, size);
    }
}

/* Threads that pay off: of a process that is read piece by piece one, since pieces are kept. */
static unsigned
team_size(const struct heap *h)
{
    cpu_set_t set;
    if (h->heap_blocks < TEAM_BLOCKS_MIN ||
        target_peek(h->heap_target, h->heap_regions[0].region_base, 1) == NULL ||
        sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    int processors = CPU_COUNT(&set);
    return processors < TEAM_MAX ? (unsigned)processors : TEAM_MAX;
}

/* The others of a team; returns how many are at work. */
static unsigned
start_others(struct worker *workers, unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        struct worker *w = &workers[i];
        *w = workers[0];
        w->w_tells = false;
        w->w_reader = &w->w_own_reader;
        w->w_stack = NULL;
        w->w_depth = w->w_room = 0;
        if (reader_init(&w->w_own_reader, w->w_heap->heap_target) != 0)
            return i;
        if (pthread_create(&w->w_thread, NULL, work, w) != 0) {
            reader_fini(&w->w_own_reader);
            return i;
        }
    }
    return count;
}

void
marker_run(struct marker *m, const struct roots *roots)
{
    struct worker workers[TEAM_MAX];
    struct team team = {.team_marker = m,
                        .team_roots = roots,
                        .team_lock = PTHREAD_MUTEX_INITIALIZER,
                        .team_given = PTHREAD_COND_INITIALIZER};
    struct block b;

    target_find_zeroes(m->m_heap->heap_target);
    for (size_t i = 0; i < roots->stack_count; i++) /* held, but not scanned as a block */
        if (heap_find(m->m_heap, roots->stacks[i], &b))
            bit_clear(m->m_unreached, heap_block_number(m->m_heap, b));
    team.team_count = team_size(m->m_heap);
    workers[0] = (struct worker){.w_team = &team,
                                 .w_heap = m->m_heap,
                                 .w_unreached = m->m_unreached,
                                 .w_start_only = m->m_start_only,
                                 .w_alone = team.team_count == 1,
                                 .w_tells = true,
                                 .w_reader = &m->m_heap->heap_reader};
    mark_registers(&workers[0]);
    pthread_mutex_lock(&team.team_lock); /* nobody is done before it is known who there is */
    team.team_count = start_others(workers, team.team_count);
    pthread_mutex_unlock(&team.team_lock);
    (void)work(&workers[0]);
    for (unsigned i = 1; i < team.team_count; i++) {
        pthread_join(workers[i].w_thread, NULL);
        reader_fini(&workers[i].w_own_reader);
        free(workers[i].w_stack);
    }
    free(workers[0].w_stack);
    free(team.team_pool);
}

/* --- Scanning for others --- */

void
scan_words(struct heap *h, addr_t start, addr_t end, scan_fn *fn, void *arg)
{
    const unsigned word = h->heap_offsets.off_word;
    const unsigned char *data;
    size_t got;

    start = (start + word - 1) & ~(addr_t)(word - 1);
    for (; (data = reader_next(&h->heap_reader, &start, end, word, &got)) != NULL; start += got)
        for (size_t i = 0; i < got; i += word) {
            uint64_t value = word_get(data + i, word);
            if (value - h->heap_lowest < h->heap_highest - h->heap_lowest &&
                !fn(arg, start + i, value))
                return;
        }
}
