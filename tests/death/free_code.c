/* SPDX-License-Identifier: MIT */
/* Frees a function. */
#include "death.h"

int main(void);

int
main(void)
{
    drop_buffer((void *)(uintptr_t)main);
    return survived();
}
