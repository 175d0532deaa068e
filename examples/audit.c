/* SPDX-License-Identifier: MIT */
/*
 * audit.c - records who allocates blocks of some 200 bytes, for as long as a
 * part of the program runs, in a program that was started plain.
 */
#include <stdio.h>
#include <umem.h>

static void
suspicious(void)
{
    for (int i = 0; i < 3; i++)
        umem_alloc(200, UMEM_DEFAULT); /* and forgets it */
}

int
main(void)
{
    struct umem_audit_spec spec = {
        .audit_frames = 32,
        .audit_size_min = 192,
        .audit_size_max = 256,
        .audit_cap = (size_t)16 << 20,
    };
    struct umem_audit_status status;

    suspicious();
    if (umem_audit_start(&spec) != 0) {
        perror("umem_audit_start");
        return 1;
    }
    suspicious();
    umem_audit_status(&status);
    printf("on: %d, %u callers, records: %s\n", status.audit_on, status.audit_frames,
           status.audit_record_bytes > 0 ? "some" : "none");
    umem_audit_stop();
    suspicious();
    umem_audit_status(&status);
    printf("on: %d\n", status.audit_on);
    return 0; /* umem leaks would name suspicious() for three blocks of nine */
}
