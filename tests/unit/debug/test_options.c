/* SPDX-License-Identifier: MIT */
/*
 * test_options.c - every item of UMEM_DEBUG, UMEM_LOGGING and UMEM_OPTIONS in
 * good and bad spellings: what it sets, what is said, and that the rest of the
 * list still counts.
 */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/vmem.h>

#include "debug/debug.h"
#include "os/os.h"
#include "os/unwind.h"

#define GUARDS (UMF_DEADBEEF | UMF_REDZONE)

static struct umem_options initial;
static bool secure;
static const char *debug_default;
static int real_stderr;

/* Linked with --wrap=os_secure. */
bool __wrap_os_secure(void);
bool
__wrap_os_secure(void)
{
    return secure;
}

/* The program's own default. */
const char *_umem_debug_init(void);
const char *
_umem_debug_init(void)
{
    return debug_default;
}

static int
setup(void **state)
{
    (void)state;
    umem_options = initial;
    umem_mtbf = 0;
    secure = false;
    debug_default = NULL;
    unsetenv("UMEM_DEBUG");
    unsetenv("UMEM_LOGGING");
    unsetenv("UMEM_OPTIONS");
    return 0;
}

/* Reads one variable afresh; returns what was said. */
static const char *
read_with(const char *name, const char *value)
{
    uint64_t mark = umem_ring.ring_head;

    (void)setup(NULL);
    setenv(name, value, 1);
    int null = open("/dev/null", O_WRONLY);
    (void)dup2(null, STDERR_FILENO);
    umem_options_read();
    (void)dup2(real_stderr, STDERR_FILENO);
    (void)close(null);
    return ring_since(mark);
}

static void
good_flags(void **state)
{
    static const struct {
        const char *value;
        uint32_t flags;
        uint32_t frames;
        size_t contents;
    } cases[] = {
        {"", 0, 15, 256},
        {" , ,,\t", 0, 15, 256},
        {"guards", GUARDS, 15, 256},
        {"guard", GUARDS, 15, 256},
        {"audit", UMF_AUDIT, 15, 256},
        {"audit=64,guard", UMF_AUDIT | GUARDS, 64, 256},
        {" audit = 64 , guard ", UMF_AUDIT | GUARDS, 64, 256},
        {"audit=0", UMF_AUDIT, 0, 256},
        {"audit=255", UMF_AUDIT, 255, 256},
        {"audit=007", UMF_AUDIT, 7, 256},
        {"audit=3,audit=4", UMF_AUDIT, 4, 256},
        {"default", UMF_DEBUG, 15, 256},
        {"audit=40,default", UMF_DEBUG, 40, 256},
        {"contents", UMF_CONTENTS, 15, 256},
        {"contents=1k", UMF_CONTENTS, 15, 1024},
        {"contents=2K,", UMF_CONTENTS, 15, 2048},
        {"contents=100", UMF_CONTENTS, 15, 100},
    };
    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(cases); i++) {
        assert_string_equal(read_with("UMEM_DEBUG", cases[i].value), "");
        assert_int_equal(umem_options.opt_flags, cases[i].flags);
        assert_int_equal(umem_options.opt_audit_frames, cases[i].frames);
        assert_int_equal(umem_options.opt_contents_bytes, cases[i].contents);
    }
}

static void
good_switches(void **state)
{
    (void)state;
    const char *some = "lite,verbose,noabort,mtbf=7,quarantine=64k,verify";
    assert_string_equal(read_with("UMEM_DEBUG", some), "");
    assert_int_equal(umem_options.opt_quarantine, 65536);
    assert_true(umem_options.opt_verify);
    assert_true(umem_options.opt_verbose);
    assert_true(umem_options.opt_noabort);
    assert_false(umem_options.opt_allverbose);
    assert_int_equal(umem_options.opt_mtbf, 7);
    assert_int_equal(umem_mtbf, 7);
    assert_contains(read_with("UMEM_DEBUG", "allverbose,audit=9"), "umem: debugging: audit, 9");
    assert_true(umem_options.opt_allverbose);
    assert_string_equal(read_with("UMEM_DEBUG", "fail=12"), "");
    assert_int_equal(umem_options.opt_fail, 12);
    assert_string_equal(read_with("UMEM_DEBUG", "mtbf=4294967295"), "");
    assert_int_equal(umem_options.opt_mtbf, UINT32_MAX);
}

static void
good_modes(void **state)
{
    (void)state;
    assert_string_equal(read_with("UMEM_DEBUG", "audit"), "");
    assert_false(umem_options.opt_nosignal || umem_options.opt_checknull ||
                 umem_options.opt_random);
    assert_int_equal(umem_options.opt_maxverify, SIZE_MAX);
    assert_string_equal(read_with("UMEM_DEBUG", "checknull,maxverify=4k,guards"), "");
    assert_true(umem_options.opt_checknull);
    assert_int_equal(umem_options.opt_maxverify, 4096);
    assert_string_equal(read_with("UMEM_DEBUG", "maxverify=0"), "");
    assert_int_equal(umem_options.opt_maxverify, 0);
    assert_string_equal(read_with("UMEM_DEBUG", "lite"), "");
    assert_int_equal(umem_options.opt_flags, UMF_REDZONE);
    assert_contains(read_with("UMEM_DEBUG", "lite,allverbose"), "debugging: lite, ");
    assert_string_equal(read_with("UMEM_DEBUG", "audit=20,lite"), "");
    assert_int_equal(umem_options.opt_flags, UMF_AUDIT | UMF_REDZONE);
    const char *said = read_with("UMEM_DEBUG", "nosignal");
    assert_int_equal(umem_options.opt_flags, UMF_AUDIT);
    assert_int_equal(umem_options.opt_nosignal, OS_UNWIND_KNOWS_SIGNALS);
    assert_int_equal(said[0] == '\0', OS_UNWIND_KNOWS_SIGNALS);
}

static void
verify_signals(void **state)
{
    static const struct {
        const char *item;
        int signal;
    } cases[] = {{"verify,guards", 0},
                 {"verify=USR1", SIGUSR1},
                 {"verify = USR2", SIGUSR2},
                 {"verify=HUP,verify", SIGHUP},
                 {"verify=USR1,verify=QUIT", SIGQUIT}};
    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(cases); i++) {
        assert_string_equal(read_with("UMEM_DEBUG", cases[i].item), "");
        assert_true(umem_options.opt_verify);
        assert_int_equal(umem_options.opt_verify_signal, cases[i].signal);
    }
}

/* verify alone finds nothing, whatever the program does: who meant more is told. */
static void
verify_of_nothing(void **state)
{
    static const char *const somewhat[] = {"verify,guards",     "verify,lite",
                                           "verify,firewall=1", "verify,random=1",
                                           "verify,sample=9",   "verify=USR1"};

    (void)state;
    assert_contains(read_with("UMEM_DEBUG", "verify"), "verify: without guards, lite or firewall");
    assert_true(umem_options.opt_verify);
    assert_contains(read_with("UMEM_DEBUG", "audit,verify"), "there is nothing to look at");
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(somewhat); i++)
        assert_string_equal(read_with("UMEM_DEBUG", somewhat[i]), "");
}

/* A seed that was given is taken; another is made up and said. */
static void
random_seed(void **state)
{
    char expected[128];

    (void)state;
    assert_string_equal(read_with("UMEM_DEBUG", "random=18446744073709551615"), "");
    assert_true(umem_options.opt_random);
    assert_true(umem_options.opt_random_seed == UINT64_MAX);
    const char *said = read_with("UMEM_DEBUG", "random");
    assert_true(umem_options.opt_random && umem_options.opt_random_seed != 0);
    snprintf(expected, sizeof(expected),
             "umem: random debugging; UMEM_DEBUG=random=%llu repeats it\n",
             (unsigned long long)umem_options.opt_random_seed);
    assert_string_equal(said, expected);
}

static const struct {
    const char *item;
    const char *said;
} bad_cases[] = {
    {"nonsense", "no such option"},
    {"AUDIT", "no such option"},
    {"audi", "no such option"},
    {"audits", "no such option"},
    {"=5", "no such option"},
    {"audit=", "not a number from 0 to 255"},
    {"audit=x", "not a number from 0 to 255"},
    {"audit=-1", "not a number from 0 to 255"},
    {"audit=+1", "not a number from 0 to 255"},
    {"audit=0x10", "not a number from 0 to 255"},
    {"audit=256", "not a number from 0 to 255"},
    {"audit=1k", "not a number from 0 to 255"},
    {"audit=99999999999999999999999", "not a number from 0 to 255"},
    {"audit=18446744073709551617", "not a number from 0 to 255"},
    {"guards=1", "takes no value"},
    {"guard=", "takes no value"},
    {"default=audit", "takes no value"},
    {"contents=0", "not a size from 1"},
    {"contents=10x", "not a size"},
    {"contents=1kb", "not a size"},
    {"contents=@", "not a size"},
    {"contents=99999999999999999t", "not a size"},
    {"mtbf", "needs a value"},
    {"mtbf=", "not a number"},
    {"mtbf=4294967296", "not a number"},
    {"fail", "needs a value"},
    {"fail=0", "not a number from 1 to 4294967295"},
    {"verbose=1", "takes no value"},
    {"firewall=below:", "not a size"},
    {"firewall", "needs a value"},
    {"firewall=big", "not a size"},
    {"nosignal=1", "takes no value"},
    {"lite=guards", "takes no value"},
    {"maxverify", "needs a value"},
    {"maxverify=-1", "not a size"},
    {"random=0", "not a number from 1"},
    {"random=0x10", "not a number"},
    {"checknull=0", "takes no value"},
    {"verify=", "not a value of this option"},
    {"verify=SEGV", "not a value of this option"},
    {"verify=10", "not a value of this option"},
};

/* One bad item in the midst of good ones: one line, and the others hold. */
static void
bad_items(void **state)
{
    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(bad_cases); i++) {
        char list[128], expected[128];
        snprintf(list, sizeof(list), "noabort, %s ,guards,", bad_cases[i].item);
        snprintf(expected, sizeof(expected), "umem: UMEM_DEBUG: \"%s\": ", bad_cases[i].item);
        const char *said = read_with("UMEM_DEBUG", list);
        assert_contains(said, expected);
        assert_contains(said, bad_cases[i].said);
        assert_contains(said, ", ignored\n");
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
        assert_true(umem_options.opt_noabort);
        assert_int_equal(umem_options.opt_flags, GUARDS);
        assert_int_equal(umem_options.opt_audit_frames, 15);
        assert_int_equal(umem_options.opt_contents_bytes, 256);
        assert_int_equal(umem_options.opt_mtbf, 0);
        assert_false(umem_options.opt_verbose);
    }
}

/* A message shows neither escape sequences nor kilobytes. */
static void
hostile_text(void **state)
{
    static char list[20000];

    (void)state;
    assert_string_equal(read_with("UMEM_DEBUG", "a\033[2Jb\x80"),
                        "umem: UMEM_DEBUG: \"a?[2Jb?\": no such option, ignored\n");
    memset(list, 'z', sizeof(list) - 1);
    const char *said = read_with("UMEM_DEBUG", list);
    assert_contains(said, "zzz...\": no such option, ignored\n");
    assert_true(strlen(said) < 200);
    assert_int_equal(umem_options.opt_flags, 0);
}

static void
sizes(void **state)
{
    static const struct {
        const char *value;
        size_t size;
    } cases[] = {
        {"contents", 65536},      {"contents=128k", 131072},        {"contents=2m", 2 << 20},
        {"contents=1G", 1 << 30}, {"contents=1t", (size_t)1 << 40}, {"contents= 4096 ", 4096},
    };
    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(cases); i++) {
        assert_string_equal(read_with("UMEM_LOGGING", cases[i].value), "");
        assert_int_equal(umem_options.opt_contents_log, cases[i].size);
    }
}

static void
logging(void **state)
{
    (void)state;
    assert_string_equal(read_with("UMEM_LOGGING", "fail,slab=1m,contents=8k"), "");
    assert_int_equal(umem_options.opt_contents_log, 8192);
    assert_int_equal(umem_options.opt_fail_log, 65536);
    assert_int_equal(umem_options.opt_slab_log, 1 << 20);
    assert_int_equal(umem_options.opt_transaction_log, 0);
    assert_string_equal(read_with("UMEM_LOGGING", "transaction"), "");
    assert_int_equal(umem_options.opt_transaction_log, 65536);
    assert_contains(read_with("UMEM_LOGGING", "slab=lots"), "not a size");
    assert_int_equal(umem_options.opt_slab_log, 0);
    assert_contains(read_with("UMEM_LOGGING", "audit"), "no such option");
    /* The last item counts, and off is what they are. */
    assert_string_equal(read_with("UMEM_LOGGING", "fail=2k,fail=0, slab=0"), "");
    assert_int_equal(umem_options.opt_fail_log, 0);
}

/* Contents logging that its log has no room for. */
static void
contents_together(void **state)
{
    (void)state;
    assert_contains(read_with("UMEM_DEBUG", "contents=1m"), "holds at most 32768");
    assert_int_equal(umem_options.opt_contents_bytes, 32768);
    (void)setup(NULL);
    setenv("UMEM_DEBUG", "default", 1);
    setenv("UMEM_LOGGING", "contents=0", 1);
    umem_options_read();
    assert_int_equal(umem_options.opt_flags, UMF_AUDIT | GUARDS);
}

static void
options(void **state)
{
    (void)state;
    assert_string_equal(
        read_with("UMEM_OPTIONS", "reap_interval=3,nomagazines,allocator=best,backend=mmap"), "");
    assert_int_equal(umem_options.opt_reap_interval_s, 3);
    assert_true(umem_options.opt_nomagazines);
    assert_false(umem_options.opt_reap_thread);
    assert_int_equal(umem_options.opt_vmem_policy, VM_BESTFIT);
    assert_string_equal(read_with("UMEM_OPTIONS", "reap_thread"), "");
    assert_true(umem_options.opt_reap_thread);
    assert_contains(read_with("UMEM_OPTIONS", "reap_thread=1"), "takes no value");
    assert_string_equal(read_with("UMEM_OPTIONS", "exit_stop=4711"), "");
    assert_int_equal(umem_options.opt_exit_stop, 4711);
    assert_contains(read_with("UMEM_OPTIONS", "exit_stop=0"), "not a number from 1");
    assert_false(umem_options.opt_agent);
    assert_string_equal(read_with("UMEM_OPTIONS", "agent"), "");
    assert_true(umem_options.opt_agent);
    assert_string_equal(read_with("UMEM_OPTIONS", "allocator=first"), "");
    assert_int_equal(umem_options.opt_vmem_policy, VM_FIRSTFIT);
    assert_string_equal(read_with("UMEM_OPTIONS", "allocator = next"), "");
    assert_int_equal(umem_options.opt_vmem_policy, VM_NEXTFIT);
    assert_string_equal(read_with("UMEM_OPTIONS", "allocator=next,allocator=instant"), "");
    assert_int_equal(umem_options.opt_vmem_policy, 0);
    assert_string_equal(read_with("UMEM_OPTIONS", "limit=64m"), "");
    assert_int_equal(umem_options.opt_heap_limit, 64 << 20);
    assert_contains(read_with("UMEM_OPTIONS", "limit=1000"), "not a size from 1048576");
    assert_int_equal(umem_options.opt_heap_limit, 0);
    assert_contains(read_with("UMEM_OPTIONS", "limit=1p"), "not a size");
    assert_contains(read_with("UMEM_OPTIONS", "limit"), "needs a value");
    assert_contains(read_with("UMEM_OPTIONS", "allocator=bes,nomagazines"), "not a value");
    assert_true(umem_options.opt_nomagazines);
    assert_int_equal(umem_options.opt_vmem_policy, 0);
    assert_contains(read_with("UMEM_OPTIONS", "allocator"), "needs a value");
    assert_contains(read_with("UMEM_OPTIONS", "backend=sbrk"), "no sbrk backend");
    assert_contains(read_with("UMEM_OPTIONS", "backend=brk"), "not a value");
    assert_contains(read_with("UMEM_OPTIONS", "nomagazines=0"), "takes no value");
    assert_contains(read_with("UMEM_OPTIONS", "reap_interval=1s"), "not a number");
}

static void
options_of_magazines(void **state)
{
    (void)state;
    assert_string_equal(read_with("UMEM_OPTIONS", ""), "");
    assert_true(umem_options.opt_perthread_cache == SIZE_MAX);
    assert_int_equal(umem_options.opt_max_contention, 3);
    assert_string_equal(read_with("UMEM_OPTIONS", "perthread_cache=1m,max_contention=20"), "");
    assert_int_equal(umem_options.opt_perthread_cache, 1 << 20);
    assert_int_equal(umem_options.opt_max_contention, 20);
    assert_string_equal(read_with("UMEM_OPTIONS", "perthread_cache=0,max_contention=0"), "");
    assert_int_equal(umem_options.opt_perthread_cache, 0);
    assert_int_equal(umem_options.opt_max_contention, 0);
    assert_contains(read_with("UMEM_OPTIONS", "perthread_cache"), "needs a value");
    assert_contains(read_with("UMEM_OPTIONS", "perthread_cache=much"), "not a size");
    assert_contains(read_with("UMEM_OPTIONS", "max_contention=4k"), "not a number");
}

/* What the original has and this allocator has nothing to set for: one line that says so. */
static void
options_without_use(void **state)
{
    static const char *const items[] = {"concurrency=8", "size_add=96", "size_remove=96",
                                        "size_clear"};
    char expected[160];

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(items); i++) {
        snprintf(expected, sizeof(expected), "umem: UMEM_OPTIONS: \"%s\": %s, ignored\n", items[i],
                 i == 0 ? "each thread has magazines of its own, there is no number of them to set"
                        : "the size classes are built in");
        assert_string_equal(read_with("UMEM_OPTIONS", items[i]), expected);
    }
    assert_contains(read_with("UMEM_OPTIONS", "concurrency=many"), "not a number");
    assert_contains(read_with("UMEM_OPTIONS", "size_add"), "needs a value");
    assert_contains(read_with("UMEM_OPTIONS", "size_clear=1"), "takes no value");
}

static void
program_defaults(void **state)
{
    uint64_t mark = umem_ring.ring_head;

    (void)state;
    debug_default = "audit=20,guards";
    umem_options_read();
    assert_int_equal(umem_options.opt_flags, UMF_AUDIT | GUARDS);
    assert_int_equal(umem_options.opt_audit_frames, 20);

    /* The environment replaces it as a whole, an empty one too. */
    setup(NULL);
    debug_default = "audit=20,guards";
    setenv("UMEM_DEBUG", "contents", 1);
    umem_options_read();
    assert_int_equal(umem_options.opt_flags, UMF_CONTENTS);
    setup(NULL);
    debug_default = "audit=20,guards";
    setenv("UMEM_DEBUG", "", 1);
    umem_options_read();
    assert_int_equal(umem_options.opt_flags, 0);
    assert_string_equal(ring_since(mark), "");

    /* Bad items are told apart from the user's. */
    setup(NULL);
    debug_default = "wrong";
    umem_options_read();
    assert_contains(ring_since(mark), "umem: _umem_debug_init: \"wrong\": no such option");
}

/* With foreign rights the environment is not heard, the program is. */
static void
secure_process(void **state)
{
    uint64_t mark = umem_ring.ring_head;

    (void)state;
    secure = true;
    debug_default = "guards";
    setenv("UMEM_DEBUG",
           "audit,mtbf=1,fail=1,noabort,checknull,nosignal,maxverify=0,random,verify=USR1,"
           "quarantine=1g,firewall=1,sample=1",
           1);
    setenv("UMEM_LOGGING", "contents=1", 1);
    setenv("UMEM_OPTIONS",
           "nomagazines,allocator=best,reap_interval=0,reap_thread,agent,exit_stop=1,limit=1m,"
           "perthread_cache=0",
           1);
    umem_options_read();
    assert_int_equal(umem_options.opt_flags, GUARDS);
    assert_int_equal(umem_options.opt_mtbf, 0);
    assert_int_equal(umem_options.opt_fail, 0);
    assert_false(umem_options.opt_noabort);
    assert_false(umem_options.opt_nosignal || umem_options.opt_checknull ||
                 umem_options.opt_random);
    assert_int_equal(umem_options.opt_maxverify, SIZE_MAX);
    assert_false(umem_options.opt_nomagazines);
    assert_false(umem_options.opt_reap_thread || umem_options.opt_agent);
    assert_false(umem_options.opt_verify);
    assert_int_equal(umem_options.opt_verify_signal, 0);
    assert_int_equal(umem_options.opt_quarantine, initial.opt_quarantine);
    assert_true(umem_options.opt_firewall == SIZE_MAX && umem_options.opt_sample == 0);
    assert_int_equal(umem_options.opt_exit_stop, 0);
    assert_int_equal(umem_options.opt_heap_limit, 0);
    assert_true(umem_options.opt_perthread_cache == SIZE_MAX);
    assert_int_equal(umem_options.opt_vmem_policy, 0);
    assert_int_equal(umem_options.opt_reap_interval_s, initial.opt_reap_interval_s);
    assert_int_equal(umem_options.opt_contents_log, initial.opt_contents_log);
    assert_contains(ring_since(mark), "UMEM_DEBUG: the process runs with other rights");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(good_flags, setup),
        cmocka_unit_test_setup(good_switches, setup),
        cmocka_unit_test_setup(good_modes, setup),
        cmocka_unit_test_setup(verify_signals, setup),
        cmocka_unit_test_setup(verify_of_nothing, setup),
        cmocka_unit_test_setup(random_seed, setup),
        cmocka_unit_test_setup(bad_items, setup),
        cmocka_unit_test_setup(hostile_text, setup),
        cmocka_unit_test_setup(sizes, setup),
        cmocka_unit_test_setup(logging, setup),
        cmocka_unit_test_setup(contents_together, setup),
        cmocka_unit_test_setup(options, setup),
        cmocka_unit_test_setup(options_of_magazines, setup),
        cmocka_unit_test_setup(options_without_use, setup),
        cmocka_unit_test_setup(program_defaults, setup),
        cmocka_unit_test_setup(secure_process, setup),
    };

    initial = umem_options;
    real_stderr = dup(STDERR_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
