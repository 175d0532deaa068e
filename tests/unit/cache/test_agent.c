/* SPDX-License-Identifier: MIT */
/*
 * test_agent.c - the agent's commands and what it says to those that are none.
 * Its connections are tested from outside (tests/preload/test_agent.py).
 */
#include "support.h"

#include <stdio.h>

#include "cache/agent.h"

static char reply[UMEM_AGENT_REPLY_MAX];
static const struct os_descriptor none = OS_DESCRIPTOR_NONE;
static const struct umem_agent_client nobody = {&none, &none};

static const char *
say_bytes(const char *line, size_t length)
{
    size_t size = umem_agent_command(&nobody, line, length, reply);

    assert_true(size > 0 && size < sizeof(reply) && strlen(reply) == size);
    assert_int_equal(reply[size - 1], '\n');
    return reply;
}

static const char *
say(const char *line)
{
    return say_bytes(line, strlen(line));
}

static void
ok(const char *line)
{
    assert_string_equal(say(line), "ok\n");
}

static void
refused(const char *line, const char *why)
{
    char expected[100];

    snprintf(expected, sizeof(expected), "error: %s\n", why);
    assert_string_equal(say(line), expected);
}

static void
test_audit(void **state)
{
    struct umem_audit_status status;

    (void)state;
    refused("audit off", "audit is off already");
    ok("audit on");
    refused("audit on", "audit is on already");
    ok(" audit\toff \r");
    ok("audit on frames=7 size=100-2k thread=1 thread=2 cap=1m guards");
    umem_audit_status(&status);
    assert_true(status.audit_on && status.audit_frames == 7 && status.audit_cap == 1 << 20);
    ok("audit off");
    ok("audit on cache=umem_alloc_64 size=100");
    ok("audit off");
    ok("audit on size=1k- cache=umem_oversize");
    ok("audit off");
}

static void
test_refused(void **state)
{
    static const char no_command[] = "no such command, help lists them";
    static const char range[] = "size is not a range of sizes";
    char long_line[UMEM_AGENT_LINE_MAX];

    (void)state;
    refused("", no_command);
    refused("AUDIT on", no_command);
    refused("audits", no_command);
    assert_non_null(strstr(say_bytes("status\0x", 8), no_command));
    memset(long_line, 0x80, sizeof(long_line));
    assert_non_null(strstr(say_bytes(long_line, sizeof(long_line)), no_command));
    refused("audit", "audit what? on or off");
    refused("audit maybe", "audit what? on or off");
    refused("audit off now", "this command takes nothing more");
    refused("status of what", "this command takes nothing more");
    refused("snapshot now", "this command takes nothing more");
    refused("snapshot", "no descriptor was passed along (SCM_RIGHTS)");
    refused("audit on everything", "no such item of audit on");
    refused("audit on frames", "no such item of audit on");
    refused("audit on frames=", "frames is not a number");
    refused("audit on frames=1k", "frames is not a number");
    refused("audit on frames=256", "a value is out of range");
    refused("audit on cache=", "cache is not a name");
    refused("audit on cache=0123456789012345678901234567890123", "cache is not a name");
    refused("audit on cache=nobody", "there is no cache of that name");
    refused("audit on size=", range);
    refused("audit on size=-", range);
    refused("audit on size=-5", range);
    refused("audit on size=1-2-3", range);
    refused("audit on size=9-0", range);
    refused("audit on size=9-8", "a value is out of range");
    refused("audit on thread=0", "thread is not a thread's id");
    refused("audit on thread=4294967297", "thread is not a thread's id");
    refused("audit on cap=0", "cap is not a size");
    refused("audit on cap=99999999999t", "cap is not a size");
    refused("audit off", "audit is off already");
}

static void
test_too_many_threads(void **state)
{
    char line[2048] = "audit on";

    (void)state;
    for (int i = 0; i < UMEM_AUDIT_THREADS_MAX; i++)
        strcat(line, " thread=9");
    ok(line);
    ok("audit off");
    strcat(line, " thread=9");
    refused(line, "too many threads");
}

static void
test_status(void **state)
{
    (void)state;
    assert_non_null(strstr(say("status"), "audit off\nframes 15\ncap 0\nrecords "));
    ok("audit on cap=1");
    umem_free(umem_alloc(10, UMEM_NOFAIL), 10);
    umem_free(umem_alloc(10, UMEM_NOFAIL), 10);
    assert_non_null(strstr(say("status"), "audit capped\nframes 15\ncap 1\nrecords "));
    assert_string_equal(reply + strlen(reply) - 3, "ok\n");
    ok("audit off");
    ok("reap");
    assert_non_null(strstr(say("help"), "audit on [frames=N]"));
    assert_string_equal(say("verify"), "corrupt 0\nok\n");
    assert_string_equal(reply + strlen(reply) - 3, "ok\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_audit),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_many_threads),
        cmocka_unit_test(test_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
