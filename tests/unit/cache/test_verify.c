/* SPDX-License-Identifier: MIT */
/*
 * test_verify.c - umem_verify(): what it counts, in which caches, and that the
 * first corrupt buffer ends the process.
 */
#include "support.h"

#include "cache/firewall.h"

static umem_cache_t *
new_cache(const char *name, int cflags)
{
    return umem_cache_create(name, 40, 0, NULL, NULL, NULL, NULL, NULL, cflags);
}

static void
sound(void)
{
    umem_cache_t *cp = new_cache("sound", 0);
    void *objs[300], *large = umem_alloc(300000, UMEM_NOFAIL);

    CHECK(umem_verify() == 0);
    for (int i = 0; i < 300; i++)
        CHECK((objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT)) != NULL);
    CHECK(umem_verify() == 0);
    for (int i = 0; i < 300; i += 2)
        umem_cache_free(cp, objs[i]);
    CHECK(umem_verify() == 0);
    umem_free(large, 300000);
    CHECK(umem_verify() == 0);
    umem_reap();
    CHECK(umem_verify() == 0);
}

/* Free and allocated ones, small and large, in quarantine and back in their slab. */
static void
counts(void)
{
    char *p[8], *large[2];

    for (int i = 0; i < 8; i++)
        p[i] = umem_alloc(100, UMEM_NOFAIL);
    for (int i = 0; i < 2; i++)
        large[i] = umem_alloc(300000, UMEM_NOFAIL);
    umem_free(p[0], 100);
    umem_reap();
    umem_free(p[2], 100);
    umem_free(large[0], 300000);
    p[0][7] = 'A';
    p[2][99] = 'A';
    p[4][100] = 'A';
    large[0][200000] = 'A';
    large[1][-1] = 'A';
    CHECK(umem_verify() == 5);
    CHECK(umem_verify() == 0); /* said once */
    p[7][-3] ^= 0x5a;
    CHECK(umem_verify() == 1);
}

static void
not_looked_at(void)
{
    umem_cache_t *cp[] = {new_cache("notouch", UMC_NOTOUCH), new_cache("nodebug", UMC_NODEBUG),
                          new_cache("nohash", UMC_NOHASH)};

    for (size_t i = 0; i < UMEM_ARRAY_SIZE(cp); i++) {
        char *p = umem_cache_alloc(cp[i], UMEM_DEFAULT);
        CHECK(p != NULL);
        umem_cache_free(cp[i], p);
        p[3] = 'A';
    }
    CHECK(umem_verify() == 0);
}

static void
without_guards(void)
{
    char *p = umem_alloc(100, UMEM_NOFAIL);

    umem_free(p, 100);
    p[3] = 'A';
    CHECK(umem_verify() == 0);
}

static void
dies(void)
{
    char *p = umem_alloc(100, UMEM_NOFAIL);

    p[101] = 'A';
    (void)umem_verify();
}

/* The bytes round live blocks behind a firewall, in every kind of them; each is said once. */
static void
firewalled(void)
{
    umem_cache_t *cp = new_cache("firewalled", 0);
    char *p[4] = {umem_alloc(100, UMEM_NOFAIL), umem_cache_alloc(cp, UMEM_NOFAIL),
                  umem_alloc(300001, UMEM_NOFAIL), umem_alloc(100, UMEM_NOFAIL)};

    CHECK(umem_verify() == 0);
    p[0][100] ^= 0x5a;
    p[1][40] ^= 0x5a;
    p[2][300001] ^= 0x5a;
    p[3][-1] ^= 0x5a;
    CHECK(umem_verify() == 4);
    CHECK(umem_verify() == 0);
    umem_free(umem_alloc(10, UMEM_NOFAIL), 10);
    CHECK(umem_verify() == 0);
}

static _Atomic bool done;

static void *
churn(void *arg)
{
    for (size_t i = 0; !done; i++) {
        size_t size = 1 + i * 37 % 200; /* with below: most of a page is slack */
        char *p = umem_alloc(size, UMEM_NOFAIL);
        memset(p, 'w', size);
        umem_free(p, size);
    }
    return arg;
}

/* While others open and close bodies: what is read is never closed meanwhile. */
static void
beside(void)
{
    pthread_t thread[2];
    char *p = umem_alloc(100, UMEM_NOFAIL);

    done = false;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&thread[i], NULL, churn, NULL) == 0);
    for (int i = 0; i < 3000; i++)
        CHECK(umem_verify() == 0);
    p[100] ^= 0x5a;
    CHECK(umem_verify() == 1);
    done = true;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    CHECK(umem_firewall_verify());
}

/* The handler only notes it; each kind of allocation does what was asked, once. */
static void
asked(void)
{
    umem_cache_t *cp = new_cache("asked", 0);
    char *p = umem_alloc(100, UMEM_NOFAIL);

    for (int i = 0; i < 3; i++) {
        p[100] ^= 0x5a;
        raise(SIGUSR1);
        CHECK(umem_verify_asked);
        switch (i) {
        case 0:
            umem_free(umem_alloc(200000, UMEM_NOFAIL), 200000);
            break;
        case 1:
            umem_cache_free(cp, umem_cache_alloc(cp, UMEM_DEFAULT));
            break;
        default:
            umem_free(umem_alloc(10, UMEM_NOFAIL), 10);
        }
        CHECK(!umem_verify_asked);
    }
}

/* Within a reap, where a thread may hold what a destructor wants, nothing is looked at. */
static void
not_now(void)
{
    CHECK(umem_alloc(10, UMEM_DEFAULT) != NULL);
    CHECK(umem_reap_try_exclude());
    raise(SIGUSR1);
    CHECK(umem_alloc(10, UMEM_DEFAULT) != NULL && umem_verify_asked);
    umem_reap_admit(true);
    CHECK(umem_alloc(10, UMEM_DEFAULT) != NULL && !umem_verify_asked);
}

/* Whoever works with a sealed cache does not wait for that. */
static void
not_sealed(void)
{
    umem_cache_t *cp = new_cache("sealed", 0);

    CHECK(umem_cache_reserve(cp, 10) == 0 && umem_cache_seal(cp) == 0);
    raise(SIGUSR1);
    umem_cache_free(cp, umem_cache_alloc(cp, UMEM_DEFAULT));
    CHECK(umem_verify_asked);
    CHECK(umem_alloc(10, UMEM_DEFAULT) != NULL && !umem_verify_asked);
}

static void
test_asked(void **state)
{
    char text[8192];

    (void)state;
    assert_int_equal(in_child(asked, "guards,noabort,verify=USR1", text, sizeof(text)), 0);
    char *first = strstr(text, "umem: verify: corrupt buffers: 1\n");
    assert_non_null(first);
    assert_non_null(strstr(first, "umem: verify: corrupt buffers: 0\n"));
    assert_exits(not_now, "guards,verify=USR1", 0);
    assert_exits(not_sealed, "guards,verify=USR1", 0);
}

static void
test_verify(void **state)
{
    (void)state;
    assert_exits(sound, NULL, 0);
    assert_exits(sound, "guards", 0);
    assert_exits(sound, "default,quarantine=0", 0);
    assert_exits(sound, "lite", 0);
    assert_exits(counts, "guards,noabort", 0);
    assert_exits(not_looked_at, "default", 0);
    assert_exits(without_guards, NULL, 0);
    assert_exits(without_guards, "audit", 0);
    assert_exits(firewalled, "firewall=1,noabort", 0);
    assert_exits(firewalled, "firewall=1,noabort,guards", 0);
    assert_exits(firewalled, "sample=1,firewall=1,noabort", 0);
    assert_exits(beside, "firewall=below:1,noabort", 0);
    assert_exits(beside, "firewall=below:1,guards,noabort", 0);
    assert_dies(dies, "firewall=50", "redzone violation: write past end of buffer");
    assert_dies(dies, "guards", "redzone violation: write past end of buffer");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_verify), cmocka_unit_test(test_asked)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
