/* SPDX-License-Identifier: MIT */
/*
 * sizes.c - the size classes and the table that finds them.
 *
 * 8, 16 to 128 by 16, then eight classes a doubling, but sixteen from 1 to
 * 2 KiB and four above 16 KiB.  Chosen by what programs lose to rounding
 * (docs/performance.md): more classes between 2 and 16 KiB save nothing and
 * leave more slabs partly filled, fewer cost databases a page with a header an
 * eighth.  From 4 to 8 KiB they are what a slab of 64 KiB has room for 15, 14
 * and so on to 8 of, since there a slab's rest would be as much as rounding
 * costs: a page with a header takes 4,369 bytes so, by eighths 4,681.  Above
 * 16 KiB what is lost is address space, of which less than a page was ever
 * touched.  A class is found by one load up to UMEM_SMALL_MAX and by shifts or
 * a division above (umem_class_of() in cache.h).  Constant data only.
 */
#include "cache/cache.h"

/* Alignment is the lowest set bit, at most a page. */
#define CLASS_ALIGN_MAX 4096 /* the smallest page of any system we run on */
#define LOWEST_BIT(x) ((x) & (0u - (x)))
#define CLASS_ALIGN(x) (LOWEST_BIT(x) < CLASS_ALIGN_MAX ? LOWEST_BIT(x) : CLASS_ALIGN_MAX)
#define CLASS(x)                                                                                   \
    {                                                                                              \
        (x), CLASS_ALIGN(x)                                                                        \
    }
/* The classes above a power of two, to the next one. */
#define FOUR(base)                                                                                 \
    CLASS((base) / 4 * 5u), CLASS((base) / 4 * 6u), CLASS((base) / 4 * 7u), CLASS((base) / 4 * 8u)
#define EIGHT(base)                                                                                \
    CLASS((base) / 8 * 9u), CLASS((base) / 8 * 10u), CLASS((base) / 8 * 11u),                      \
        CLASS((base) / 8 * 12u), CLASS((base) / 8 * 13u), CLASS((base) / 8 * 14u),                 \
        CLASS((base) / 8 * 15u), CLASS((base) / 8 * 16u)

/* From base, up to the next power of two, every sixteenth of it. */
#define SIXTEEN(base)                                                                              \
    CLASS((base) / 16 * 17u), CLASS((base) / 16 * 18u), CLASS((base) / 16 * 19u),                  \
        CLASS((base) / 16 * 20u), CLASS((base) / 16 * 21u), CLASS((base) / 16 * 22u),              \
        CLASS((base) / 16 * 23u), CLASS((base) / 16 * 24u), CLASS((base) / 16 * 25u),              \
        CLASS((base) / 16 * 26u), CLASS((base) / 16 * 27u), CLASS((base) / 16 * 28u),              \
        CLASS((base) / 16 * 29u), CLASS((base) / 16 * 30u), CLASS((base) / 16 * 31u),              \
        CLASS((base) / 16 * 32u)

/* So many fill a slab. */
#define SHARE(n) CLASS(UMEM_SHARED_SLAB / (n) / 16 * 16u)

const struct umem_class umem_classes[UMEM_CLASS_COUNT] = {
    CLASS(8u),   CLASS(16u),  CLASS(32u),  CLASS(48u),  CLASS(64u),  CLASS(80u),    CLASS(96u),
    CLASS(112u), CLASS(128u), EIGHT(128),  EIGHT(256),  EIGHT(512),  SIXTEEN(1024), EIGHT(2048),
    SHARE(15u),  SHARE(14u),  SHARE(13u),  SHARE(12u),  SHARE(11u),  SHARE(10u),    SHARE(9u),
    SHARE(8u),   EIGHT(8192), FOUR(16384), FOUR(32768), FOUR(65536),
};

/* Entries a class: classes are 16, 32 and 64 apart. */
#define ONCE(c) TCACHE_BIN_AT(c)
#define TWICE(c) ONCE(c), ONCE(c)
#define FOUR_TIMES(c) TWICE(c), TWICE(c)
/* Of eight classes from c on. */
#define ROW(entries, c)                                                                            \
    entries(c), entries((c) + 1), entries((c) + 2), entries((c) + 3), entries((c) + 4),            \
        entries((c) + 5), entries((c) + 6), entries((c) + 7)
const uint16_t umem_class_of_small[UMEM_SMALL_MAX / 16 + 1] = {
    ONCE(1),             /* of size 0 */
    ROW(ONCE, 1),        /* 16 to 128 by 16 */
    ROW(ONCE, 9),        /* 144 to 256 by 16 */
    ROW(TWICE, 17),      /* 288 to 512 by 32 */
    ROW(FOUR_TIMES, 25), /* 576 to 1,024 by 64 */
};
