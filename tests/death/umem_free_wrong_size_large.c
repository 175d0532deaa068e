/* SPDX-License-Identifier: MIT */
/* umem_free() of a large block with another size. */
#include "object.h"

int
main(void)
{
    drop_sized(make_sized(500000), 400000);
    return survived();
}
