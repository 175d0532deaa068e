/* SPDX-License-Identifier: MIT */
/*
 * test_check.c - buffers made by hand: what an allocation and a free write,
 * and every damage that is to be found, with its message.
 */
#include "support.h"

#include <pthread.h>

#include "cache/cache.h"
#include "debug/contents.h"
#include "debug/debug.h"
#include "debug/tag.h"

#define GUARDS (UMF_DEADBEEF | UMF_REDZONE)
#define SPACE_MAX 70000

static struct umem_cache cache = {.cache_name = "umem_alloc_16"};

/* A buffer with room for the tags, and a wall behind that nobody may touch. */
static struct {
    struct umem_bufctl bufctl, next;
    _Alignas(64) char front[64];
    char chunk[SPACE_MAX + sizeof(struct umem_buftag) + 64];
} arena;

static struct umem_buffer
make_buffer(size_t space, uint32_t flags)
{
    struct umem_buffer buf = {.buf_cache = &cache,
                              .buf_bufctl = &arena.bufctl,
                              .buf_addr = arena.chunk,
                              .buf_space = space,
                              .buf_flags = flags};

    memset(&arena, 0x77, sizeof(arena));
    umem_debug_raw(&buf);
    return buf;
}

static void
assert_all(const char *p, size_t size, const char *pattern, size_t pattern_size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != pattern[i % pattern_size])
            fail_msg("byte %zu is %#x", i, (unsigned char)p[i]);
}

static void
assert_slack(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)p[i] != UMEM_SLACK_BYTE(p + i))
            fail_msg("byte %zu is %#x", i, (unsigned char)p[i]);
}

static void
assert_wall(const struct umem_buffer *buf, size_t tag)
{
    assert_all(buf->buf_addr + buf->buf_space + tag, 64, "\x77", 1);
}

static void
life_of_a_buffer(void **state)
{
    static const size_t spaces[] = {8, 16, 24, 48, 64, 72, 128, 1000, 4096, SPACE_MAX};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(spaces); i++)
        for (size_t requested = 1; requested <= spaces[i]; requested += 1 + requested / 9) {
            struct umem_buffer buf = make_buffer(spaces[i], GUARDS | UMF_AUDIT);
            char *p = buf.buf_addr;
            assert_int_equal(arena.bufctl.bc_state, UMEM_BUFFER_RAW);
            for (int round = 0; round < 2; round++) {
                assert_true(umem_debug_alloc(&buf, requested));
                assert_int_equal(arena.bufctl.bc_state, UMEM_BUFFER_ALLOCATED);
                assert_int_equal(arena.bufctl.bc_size, requested);
                assert_all(p, requested, "\xfe\xca\xdd\xba", 4);
                assert_slack(p + requested, buf.buf_space - requested);
                assert_wall(&buf, sizeof(struct umem_buftag));
                memset(p, 'x', requested);
                assert_true(umem_debug_free(&buf, round == 0 ? requested : SIZE_MAX));
                assert_int_equal(arena.bufctl.bc_state, UMEM_BUFFER_FREE);
                assert_all(p, requested, "x", 1); /* a destructor still sees it */
                umem_debug_fill_free(&buf);
                assert_all(p, buf.buf_space, "\xef\xbe\xad\xde", 4);
                assert_wall(&buf, sizeof(struct umem_buftag));
            }
        }
}

static void
tag_values(void **state)
{
    struct umem_buffer buf = make_buffer(48, GUARDS);
    struct umem_buftag tag;
    uint32_t low = (uint32_t)(uintptr_t)&arena.bufctl;

    (void)state;
    umem_debug_alloc(&buf, 41);
    memcpy(&tag, buf.buf_addr + 48, sizeof(tag));
    assert_int_equal(tag.buftag_redzone, 0xfeedface);
    assert_int_equal(UMEM_SIZE_DECODE(tag.buftag_size), 41);
    assert_true(UMEM_SIZE_VALID(tag.buftag_size));
    assert_int_equal(tag.buftag_bufctl, low);
    assert_int_equal(tag.buftag_state, low ^ UMEM_BUFTAG_ALLOCATED);
    umem_debug_free(&buf, 41);
    umem_debug_fill_free(&buf);
    memcpy(&tag, buf.buf_addr + 48, sizeof(tag));
    assert_int_equal(tag.buftag_state, low ^ UMEM_BUFTAG_FREE);
}

/* Audit alone: the chunk is the program's from end to end. */
static void
without_redzone(void **state)
{
    struct umem_buffer buf = make_buffer(32, UMF_AUDIT);

    (void)state;
    assert_all(buf.buf_addr, 32 + 64, "\x77", 1);
    assert_true(umem_debug_alloc(&buf, 20));
    memset(buf.buf_addr, 1, 32);
    umem_debug_resize(&buf, 32);
    assert_int_equal(arena.bufctl.bc_size, 32);
    assert_true(umem_debug_free(&buf, 32));
    umem_debug_fill_free(&buf);
    assert_all(buf.buf_addr, 32, "\1", 1);
    assert_wall(&buf, 0);
    assert_true(umem_debug_alloc(&buf, 8));
}

static void
resize(void **state)
{
    struct umem_buffer buf = make_buffer(64, GUARDS | UMF_AUDIT);

    (void)state;
    umem_debug_alloc(&buf, 10);
    memset(buf.buf_addr, 'x', 10);
    struct umem_transaction before = arena.bufctl.bc_prev;
    umem_debug_resize(&buf, 50);
    assert_all(buf.buf_addr, 10, "x", 1);
    assert_slack(buf.buf_addr + 50, 14);
    assert_int_not_equal((unsigned char)buf.buf_addr[49], UMEM_SLACK_BYTE(buf.buf_addr + 49));
    umem_debug_resize(&buf, 5);
    assert_all(buf.buf_addr, 5, "x", 1);
    assert_slack(buf.buf_addr + 5, 59);
    assert_memory_equal(&before, &arena.bufctl.bc_prev, sizeof(before));
    assert_true(umem_debug_free(&buf, 5));
}

static void
transactions(void **state)
{
    struct umem_buffer buf = make_buffer(64, UMF_AUDIT);
    struct umem_bufctl *bc = &arena.bufctl;

    (void)state;
    assert_int_equal(bc->bc_last.txn_when, 0);
    umem_debug_alloc(&buf, 10);
    struct umem_transaction allocated = bc->bc_last;
    assert_int_equal(umem_transaction_thread(&allocated), getpid());
    assert_int_not_equal(allocated.txn_stack, 0);
    umem_debug_free(&buf, 10);
    assert_memory_equal(&bc->bc_prev, &allocated, sizeof(allocated));
    assert_true(bc->bc_last.txn_when >= allocated.txn_when);
}

/* Thread and time share a word; size, state, marks and sequence another. */
static void
records_are_packed(void **state)
{
    static const uint64_t times[] = {1u << 20, 123456789012345,
                                     (uint64_t)146 * 365 * 86400 * 1000000000};
    uint64_t size = ((uint64_t)1 << UMEM_BUFCTL_SIZE_BITS) - 1;
    struct umem_bufctl bc = {.bc_state = UMEM_BUFFER_ALLOCATED, .bc_turns = UMEM_BC_REPORTED};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(times); i++) {
        struct umem_transaction txn = {.txn_when = umem_transaction_when(4194303, times[i])};
        assert_int_equal(umem_transaction_thread(&txn), 4194303);
        assert_true(times[i] - umem_transaction_ns(&txn) < 1u << UMEM_TXN_TIME_SHIFT);
    }
    umem_bufctl_set_size(&bc, size);
    for (unsigned turns = 1; turns < 1000; turns++) {
        umem_bufctl_turn(&bc);
        assert_int_equal(bc.bc_turns, UMEM_BC_REPORTED | (turns & UMEM_BC_SEQUENCE));
    }
    assert_true(bc.bc_size == size);
    assert_int_equal(bc.bc_state, UMEM_BUFFER_ALLOCATED);
}

/* --- Damage, in children --- */

struct damage {
    size_t space;
    size_t requested;
    size_t offset; /* of one byte that is written */
    const char *said;
    const char *place;
};

static void
write_and_free(void *arg)
{
    const struct damage *damage = arg;
    struct umem_buffer buf = make_buffer(damage->space, GUARDS | UMF_AUDIT);

    umem_debug_alloc(&buf, damage->requested);
    buf.buf_addr[damage->offset] ^= 0x5a;
    umem_debug_free(&buf, SIZE_MAX);
}

static void
overruns(void **state)
{
    static const struct damage cases[] = {
        {16, 8, 8, "redzone violation: write past end of buffer", "byte at offset 0x8 is 0xeb, "},
        {16, 8, 15, "redzone violation: write past end of buffer", "byte at offset 0xf is 0xe2, "},
        {16, 13, 14, "redzone violation: write past end of buffer", "byte at offset 0xe is 0xed"},
        {16, 16, 16, "redzone violation: write past end of buffer", "byte at offset 0x10 is 0x94"},
        {16, 16, 19, "redzone violation: write past end of buffer", "byte at offset 0x13 is 0xa4"},
        {16, 16, 20, "redzone violation: write past end of buffer", "byte at offset 0x14"},
        {16, 16, 24, "boundary tag corrupted", "the buffer's end is intact"},
        {16, 16, 31, "boundary tag corrupted", "the buffer's end is intact"},
        {4096, 1, 4000, "redzone violation: write past end of buffer", "byte at offset 0xfa0"},
        {4096, 1, 1, "redzone violation: write past end of buffer", "byte at offset 0x1 is"},
    };
    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(cases); i++) {
        const struct outcome *outcome = run_child(write_and_free, (void *)(uintptr_t)&cases[i]);
        char headline[128];
        snprintf(headline, sizeof(headline), "umem allocator: %s\n", cases[i].said);
        assert_aborted(outcome);
        assert_memory_equal(outcome->text, headline, strlen(headline));
        assert_contains(outcome->text, cases[i].place);
        assert_contains(outcome->text, "cache: umem_alloc_16");
        assert_contains(outcome->text, "allocated by thread ");
        assert_contains(outcome->text, "umem: heap corruption detected\n");
        assert_contains(outcome->text, "stack of the thread that found it:");
    }
}

static void
write_after_free(void *arg)
{
    const struct damage *damage = arg;
    struct umem_buffer buf = make_buffer(damage->space, GUARDS | UMF_AUDIT | UMF_CONTENTS);

    umem_debug_alloc(&buf, damage->requested);
    memset(buf.buf_addr, 'o', damage->requested);
    umem_debug_free(&buf, SIZE_MAX);
    umem_debug_fill_free(&buf);
    buf.buf_addr[damage->offset] = 'A';
    umem_debug_alloc(&buf, damage->requested);
}

static void
modified(void **state)
{
    static const struct damage cases[] = {
        {16, 16, 0, NULL, "at offset 0x0 (0xdeadbeef replaced by 0xdeadbe41)"},
        {16, 16, 15, NULL, "at offset 0xc (0xdeadbeef replaced by 0x41adbeef)"},
        {72, 72, 66, NULL, "at offset 0x40 (0xdeadbeef replaced by 0xde41beef)"},
        {SPACE_MAX, SPACE_MAX, SPACE_MAX - 1, NULL, "at offset 0x1116c (0xdeadbeef replaced by"},
    };
    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(cases); i++) {
        const struct outcome *outcome = run_child(write_after_free, (void *)(uintptr_t)&cases[i]);
        assert_aborted(outcome);
        assert_contains(outcome->text, "umem allocator: buffer modified after being freed\n");
        assert_contains(outcome->text, "modification occurred ");
        assert_contains(outcome->text, cases[i].place);
        assert_contains(outcome->text, "freed by thread ");
        if (cases[i].offset < 256) {
            assert_contains(outcome->text, "the bytes there when it was freed:\n");
            assert_contains(outcome->text, " 6f 6f 6f");
        } else {
            assert_contains(outcome->text, "no longer in the contents log");
        }
    }
}

/* maxverify: what lies behind is not looked at. */
static void
limited(void **state)
{
    static const struct damage damage = {72, 72, 66, NULL, NULL};
    static const struct {
        size_t limit;
        bool found;
    } cases[] = {{0, false}, {66, false}, {67, true}, {72, true}, {SIZE_MAX, true}};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(cases); i++) {
        umem_options.opt_maxverify = cases[i].limit;
        const struct outcome *outcome = run_child(write_after_free, (void *)(uintptr_t)&damage);
        if (cases[i].found)
            assert_contains(outcome->text, "at offset 0x40 (0xdeadbeef replaced by 0xde41beef)");
        else
            assert_int_equal(outcome->status, 0);
    }
    umem_options.opt_maxverify = SIZE_MAX;
}

/* --- Before the start --- */

struct front_damage {
    uint32_t chunks_before; /* 0: the first of a slab */
    long offset;            /* of one byte, from the second buffer's start */
    bool first_is_freed;    /* else the second one */
    const char *said;
    const char *place;
};

/* Two chunks of 64 bytes and a gap of 16, the first written round, one of them freed. */
static void
write_in_front(void *arg)
{
    const struct front_damage *damage = arg;
    struct umem_buffer first = {.buf_cache = &cache,
                                .buf_bufctl = &arena.bufctl,
                                .buf_addr = arena.chunk,
                                .buf_space = 64,
                                .buf_flags = GUARDS | UMF_AUDIT,
                                .buf_gap = 16,
                                .buf_behind = &arena.next};
    struct umem_buffer second = first;

    memset(&arena, 0, sizeof(arena));
    second.buf_bufctl = &arena.next;
    second.buf_addr += 96;
    second.buf_before = &arena.bufctl;
    second.buf_behind = NULL;
    umem_debug_raw(&first);
    umem_debug_raw(&second);
    umem_debug_alloc(&first, 40);
    umem_debug_alloc(&second, 40);
    struct umem_buffer *to = damage->chunks_before != 0 ? &second : &first;
    to->buf_addr[damage->offset] ^= 0x5a;
    umem_debug_free(damage->first_is_freed ? &first : &second, SIZE_MAX);
}

static void
before_the_start(void **state)
{
    static const char under[] = "redzone violation: write before start of buffer";
    static const char over[] = "redzone violation: write past end of buffer";
    static const struct front_damage cases[] = {
        {0, -1, true, under, "byte at offset -0x1 is"},
        {0, -16, true, under, "byte at offset -0x10 is"},
        {1, -1, true, under, "byte at offset -0x1 is"},
        {1, -8, true, under, "byte at offset -0x8 is"},
        {1, -1, false, under, "byte at offset -0x1 is"},
        {1, -5, false, under, "byte at offset -0x5 is"},
        {1, -16, false, over, "byte at offset 0x50 is 0x94"}, /* the first one's tag */
        {1, -17, true, over, "byte at offset 0x4f is 0xe2"},  /* its gap */
    };
    char headline[128], named[64];

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(cases); i++) {
        const struct outcome *outcome = run_child(write_in_front, (void *)(uintptr_t)&cases[i]);
        char *buffer = arena.chunk + (cases[i].said == under && cases[i].chunks_before ? 96 : 0);
        snprintf(headline, sizeof(headline), "umem allocator: %s\n", cases[i].said);
        snprintf(named, sizeof(named), "buffer=%p ", (void *)buffer);
        assert_aborted(outcome);
        assert_memory_equal(outcome->text, headline, strlen(headline));
        assert_contains(outcome->text, cases[i].place);
        assert_contains(outcome->text, named);
    }
}

/* Said once, whoever is freed first; the buffer that was not at fault stays in use. */
static void
said_once(void *arg)
{
    struct umem_buffer first = make_buffer(16, GUARDS), second = first;

    (void)arg;
    umem_options.opt_noabort = true;
    first.buf_behind = second.buf_bufctl = &arena.next;
    second.buf_before = &arena.bufctl;
    second.buf_addr += 32;
    umem_debug_raw(&second);
    umem_debug_alloc(&first, 8);
    umem_debug_alloc(&second, 8);
    second.buf_addr[-1] ^= 0x5a;
    if (umem_debug_free(&second, 8) || !umem_debug_free(&first, 8))
        _exit(1);
    umem_debug_fill_free(&first);
    if (!umem_debug_alloc(&first, 16))
        _exit(2);
    /* And an overrun that the neighbour finds is not held against that one. */
    arena.next.bc_turns &= (uint8_t)~UMEM_BC_REPORTED;
    first.buf_addr[16] ^= 0x5a;
    if (!umem_debug_free(&second, 8) || umem_debug_free(&first, 16))
        _exit(3);
}

static void
before_the_start_noabort(void **state)
{
    (void)state;
    const struct outcome *outcome = run_child(said_once, NULL);
    assert_int_equal(outcome->status, 0);
    const char *said = strstr(outcome->text, "write before start of buffer");
    assert_non_null(said);
    assert_null(strstr(said + 1, "write before start of buffer"));
}

static void
tag_of_a_free_buffer(void *arg)
{
    struct umem_buffer buf = make_buffer(16, GUARDS);

    (void)arg;
    umem_debug_alloc(&buf, 16);
    umem_debug_free(&buf, 16);
    umem_debug_fill_free(&buf);
    buf.buf_addr[17] ^= 1;
    umem_debug_alloc(&buf, 16);
}

static void
free_twice(void *arg)
{
    struct umem_buffer buf = make_buffer(16, GUARDS | UMF_AUDIT);

    (void)arg;
    umem_debug_alloc(&buf, 16);
    umem_debug_free(&buf, 16);
    umem_debug_fill_free(&buf);
    umem_debug_free(&buf, 16);
}

static void
free_raw(void *arg)
{
    struct umem_buffer buf = make_buffer(16, GUARDS | UMF_AUDIT);

    (void)arg;
    umem_debug_free(&buf, 16);
}

static void
free_with_wrong_size(void *arg)
{
    struct umem_buffer buf = make_buffer(16, GUARDS);

    (void)arg;
    umem_debug_alloc(&buf, 9);
    umem_debug_free(&buf, 12);
}

static void
state_out_of_range(void *arg)
{
    struct umem_buffer buf = make_buffer(16, UMF_AUDIT);

    (void)arg;
    umem_debug_alloc(&buf, 9);
    arena.bufctl.bc_state = 100;
    arena.bufctl.bc_last.txn_stack = 0xffffffff;
    umem_debug_free(&buf, 9);
}

static void
size_out_of_range(void *arg)
{
    struct umem_buffer buf = make_buffer(16, GUARDS);

    (void)arg;
    umem_debug_alloc(&buf, 9);
    arena.bufctl.bc_size = 17;
    umem_debug_free(&buf, SIZE_MAX);
}

static void
allocated_while_allocated(void *arg)
{
    struct umem_buffer buf = make_buffer(16, GUARDS);

    (void)arg;
    umem_debug_alloc(&buf, 9);
    umem_debug_alloc(&buf, 9);
}

static void
overrun_seen_by_resize(void *arg)
{
    struct umem_buffer buf = make_buffer(32, GUARDS);

    (void)arg;
    umem_debug_alloc(&buf, 9);
    buf.buf_addr[10] = 0;
    umem_debug_resize(&buf, 20);
}

static void
oversize_free_twice(void *arg)
{
    struct umem_buffer buf = make_buffer(16, GUARDS);

    (void)arg;
    buf.buf_cache = NULL;
    umem_debug_alloc(&buf, 9);
    umem_debug_free(&buf, 9);
    umem_debug_free(&buf, 9);
}

static void
other_damage(void **state)
{
    static const struct {
        void (*fn)(void *);
        const char *said[3];
    } cases[] = {
        {tag_of_a_free_buffer, {"boundary tag corrupted", "offset 0x11 is"}},
        {free_twice,
         {"duplicate free: buffer freed twice", "\nfreed by thread", "\nallocated by thread"}},
        {free_raw, {"invalid free: buffer not in cache", "never handed out"}},
        {free_with_wrong_size, {"bad free: free size (12) != alloc size (9)"}},
        {state_out_of_range, {"bufctl corrupted", "last used by thread", "(no stack was kept)"}},
        {size_out_of_range, {"bufctl corrupted"}},
        {allocated_while_allocated, {"bufctl corrupted"}},
        {overrun_seen_by_resize,
         {"redzone violation: write past end of buffer", "offset 0xa is 0x00, should be 0xb3"}},
        {oversize_free_twice, {"duplicate free", "cache: none (oversize)", "UMEM_DEBUG=audit"}},
    };
    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(cases); i++) {
        const struct outcome *outcome = run_child(cases[i].fn, NULL);
        assert_aborted(outcome);
        assert_memory_equal(outcome->text, "umem allocator: ", 16);
        for (size_t j = 0; j < 3 && cases[i].said[j] != NULL; j++)
            assert_contains(outcome->text, cases[i].said[j]);
    }
}

/* --- opt_noabort: said, refused, and the buffer is left as it is --- */

static void
go_on(void *arg)
{
    const struct damage damage = {16, 8, 9, NULL, NULL};

    (void)arg;
    umem_options.opt_noabort = true;
    struct umem_buffer buf = make_buffer(16, GUARDS);
    if (!umem_debug_alloc(&buf, 8))
        _exit(1);
    buf.buf_addr[damage.offset] = 0;
    if (umem_debug_free(&buf, 8) || arena.bufctl.bc_state != UMEM_BUFFER_ALLOCATED)
        _exit(2);
    buf.buf_addr[damage.offset] = (char)UMEM_SLACK_BYTE(buf.buf_addr + damage.offset);
    if (!umem_debug_free(&buf, 8) || umem_debug_free(&buf, 8))
        _exit(3);
    umem_debug_fill_free(&buf);
    buf.buf_addr[3] = 0;
    if (umem_debug_alloc(&buf, 8) || arena.bufctl.bc_state != UMEM_BUFFER_FREE)
        _exit(4);
}

static void
noabort(void **state)
{
    (void)state;
    const struct outcome *outcome = run_child(go_on, NULL);
    assert_int_equal(outcome->status, 0);
    assert_contains(outcome->text, "redzone violation");
    assert_contains(outcome->text, "duplicate free");
    assert_contains(outcome->text, "buffer modified after being freed");
}

/* --- Two threads free one buffer at once: exactly one succeeds --- */

static struct umem_buffer shared;
static pthread_barrier_t barrier;

static void *
free_shared(void *arg)
{
    (void)arg;
    pthread_barrier_wait(&barrier);
    return umem_debug_free(&shared, SIZE_MAX) ? &shared : NULL;
}

static void
race(void *arg)
{
    (void)arg;
    umem_options.opt_noabort = true;
    pthread_barrier_init(&barrier, NULL, 2);
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        void *other;
        shared = make_buffer(64, UMF_REDZONE);
        umem_debug_alloc(&shared, 30);
        pthread_create(&thread, NULL, free_shared, NULL);
        void *mine = free_shared(NULL);
        pthread_join(thread, &other);
        if ((mine == NULL) == (other == NULL))
            _exit(1);
    }
}

static void
freed_by_two_threads(void **state)
{
    (void)state;
    const struct outcome *outcome = run_child(race, NULL);
    assert_int_equal(outcome->status, 0);
    assert_contains(outcome->text, "duplicate free: buffer freed twice");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(life_of_a_buffer), cmocka_unit_test(tag_values),
        cmocka_unit_test(without_redzone),  cmocka_unit_test(resize),
        cmocka_unit_test(transactions),     cmocka_unit_test(records_are_packed),
        cmocka_unit_test(overruns),         cmocka_unit_test(modified),
        cmocka_unit_test(limited),          cmocka_unit_test(other_damage),
        cmocka_unit_test(before_the_start), cmocka_unit_test(before_the_start_noabort),
        cmocka_unit_test(noabort),          cmocka_unit_test(freed_by_two_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
