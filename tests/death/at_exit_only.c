/* SPDX-License-Identifier: MIT */
/*
 * Damages a block that nobody frees or takes again: found at exit, or not.
 *
 *   at_exit_only WHAT [END]
 *
 * END: "return" from main, "exit", "handler" (the damage is done by one of
 * atexit()), or "_exit".
 */
#include "object.h"

#include <stdbool.h>
#include <unistd.h>

static char *victim;
static long offset;

static void
damage(void)
{
    victim[offset] = (char)(victim[offset] ^ 0x5a);
}

KEEP void
choose(const char *what)
{
    bool large = strncmp(what, "large ", 6) == 0;
    size_t size = large ? 300000 : 40;
    const char *how = large ? what + 6 : what;

    if (strncmp(how, "object ", 7) == 0) {
        umem_cache_t *cp = new_cache("anvil_cache", size);
        victim = make_object(cp);
        if (strcmp(how, "object freed") == 0)
            drop_object(cp, victim);
        offset = 40;
    } else if (strcmp(how, "notouch freed") == 0) {
        umem_cache_t *cp =
            umem_cache_create("anvil_cache", size, 0, NULL, NULL, NULL, NULL, NULL, UMC_NOTOUCH);
        victim = make_object(cp);
        drop_object(cp, victim);
    } else {
        char *before = make_buffer(size), *behind;
        victim = make_buffer(size);
        behind = make_buffer(size);
        offset = strcmp(how, "underrun") == 0 ? -1 : (long)size;
        if (strcmp(how, "freed") == 0) {
            offset = (long)size - 1;
            drop_buffer(victim);
        }
        drop_buffer(before);
        drop_buffer(behind);
    }
    if (strcmp(how, "object freed") == 0)
        offset = 39;
}

int
main(int argc, char **argv)
{
    const char *end = argc > 2 ? argv[2] : "return";

    choose(argv[1]);
    if (strcmp(end, "handler") == 0)
        atexit(damage);
    else
        damage();
    survived();
    if (strcmp(end, "_exit") == 0)
        _exit(0);
    if (strcmp(end, "exit") == 0)
        exit(0);
    return 0;
}
