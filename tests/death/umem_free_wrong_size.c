/* SPDX-License-Identifier: MIT */
/* umem_free() with another size than allocated. */
#include "object.h"

int
main(void)
{
    drop_sized(make_sized(100), 90);
    return survived();
}
