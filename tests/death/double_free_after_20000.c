/* SPDX-License-Identifier: MIT */
/* Frees again after 20,000 operations on other blocks. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(40);
    drop_buffer(p);
    for (int i = 0; i < 50; i++)
        other_work();
    drop_buffer(p);
    return survived();
}
