/* SPDX-License-Identifier: MIT */
/* detach_module.c - a variable as those of most shared libraries are: see test_detach.c. */
unsigned *module_count(void);

static __thread unsigned count __attribute__((tls_model("global-dynamic")));

unsigned *
module_count(void)
{
    return &count;
}
