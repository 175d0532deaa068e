/* SPDX-License-Identifier: MIT */
/* The classic: no room for the terminating NUL. */
#include "death.h"

int
main(void)
{
    const char *text = "sixteen letters!";
    char *p = make_buffer(strlen(text));
    strcpy(p, opaque((void *)text));
    drop_buffer(p);
    return survived();
}
