/* SPDX-License-Identifier: MIT */
/*
 * sizes.c - the size classes and the table that finds them.
 *
 * 8, 16, 32, 48, 64 to 128 by 16, then four classes a doubling: a block wastes
 * at most a fifth, and a class is found by one load up to UMEM_SMALL_MAX and
 * by shifts above (umem_class_of() in cache.h).  Constant data only.
 */
#include "cache/cache.h"

/* Four classes from a power of two up: alignment is the lowest set bit, at most a page. */
#define FOUR(base)                                                                                 \
    {(base), CLASS_ALIGN(base)}, {(base) / 4 * 5, CLASS_ALIGN((base) / 4)},                        \
        {(base) / 4 * 6, CLASS_ALIGN((base) / 2)},                                                 \
    {                                                                                              \
        (base) / 4 * 7, CLASS_ALIGN((base) / 4)                                                    \
    }
#define CLASS_ALIGN_MAX 4096 /* the smallest page of any system we run on */
#define CLASS_ALIGN(x) ((x) < CLASS_ALIGN_MAX ? (x) : CLASS_ALIGN_MAX)

const struct umem_class umem_classes[UMEM_CLASS_COUNT] = {
    {8, 8},
    {16, 16},
    {32, 32},
    {48, 16},
    {64, 64},
    {80, 16},
    {96, 32},
    {112, 16},
    FOUR(128),
    FOUR(256),
    FOUR(512),
    FOUR(1024),
    FOUR(2048),
    FOUR(4096),
    FOUR(8192),
    FOUR(16384),
    FOUR(32768),
    FOUR(65536),
    {131072, CLASS_ALIGN_MAX},
};

/* Classes 1 to 8 are 16 apart but for the first; then 32, 64, 128 apart. */
#define ROW2(c) (c), (c)
#define ROW4(c) ROW2(c), ROW2(c)
#define ROW8(c) ROW4(c), ROW4(c)
const uint8_t umem_class_of_small[UMEM_SMALL_MAX / 16 + 1] = {
    1,        1,        2,        3,        4, 5, 6, 7, 8, /* 0 to 128 by 16 */
    ROW2(9),  ROW2(10), ROW2(11), ROW2(12),                /* 160 to 256 by 32 */
    ROW4(13), ROW4(14), ROW4(15), ROW4(16),                /* 320 to 512 by 64 */
    ROW8(17), ROW8(18), ROW8(19), ROW8(20),                /* 640 to 1,024 by 128 */
};
