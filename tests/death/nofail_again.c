/* SPDX-License-Identifier: MIT */
/* What may not fail fails, and once more in a handler of the exit() that this comes to. */
#include "death.h"

#include <umem.h>

#define TOO_LARGE ((size_t)1 << 62)

static void
at_exit(void)
{
    (void)opaque(umem_alloc(TOO_LARGE, UMEM_NOFAIL));
}

int
main(void)
{
    atexit(at_exit);
    (void)opaque(umem_alloc(TOO_LARGE, UMEM_NOFAIL));
    return survived();
}
