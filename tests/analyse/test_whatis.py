# SPDX-License-Identifier: MIT
"""`umem whatis`: buffers, free buffers, stacks, guards, mappings, nothing."""

import pytest

from leak_support import build, refused, target_of, umem, umem_json, waiting

PROGRAM = """#include <pthread.h>
#include <stackalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int in_data = 1;
static volatile int ready;
static void *thread(void *arg)
{
    char local[64] = "";
    printf("stack %p\\n", (void *)local);
    ready = 1;
    pause();
    return (char *)arg + local[0];
}
__attribute__((noipa)) static void *allocate(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p)); /* no tail call: this function is to be in the stack */
    return p;
}
__attribute__((noipa)) static void release(void *p)
{
    free(p);
    __asm__ volatile("");
}
int main(void)
{
    pthread_t t;
    char *live = allocate(100), *freed = allocate(200);
    char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *stack = stack_alloc(65536);
    char *large = allocate(1 << 20);
    strcpy(live, "what a live buffer holds");
    release(freed);
    setvbuf(stdout, NULL, _IOLBF, 0);
    pthread_create(&t, NULL, thread, NULL);
    while (!ready)
        usleep(1000);
    printf("live %p\\nfreed %p\\nmap %p\\nlarge %p\\n", live, freed, map, large);
    printf("alloced %p\\nguard %p\\ndata %p\\ncode %p\\n", stack, stack - 1, &in_data,
           (void *)(size_t)main);
    printf("main %p\\n", (void *)&live);
    puts("ready");
    pause();
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("whatis"), PROGRAM, libs=("-lstackalloc",))


def addresses(process):
    words = [line.split() for line in process.lines]
    return {word[0]: int(word[1], 16) for word in words if len(word) == 2}


def ask(target, address):
    report = umem_json("whatis", target, hex(address))
    assert report["address"] == hex(address)
    if report["kind"] != "unknown":
        assert int(report["base"], 16) <= address < int(report["base"], 16) + report["size"]
        assert report["offset"] == address - int(report["base"], 16)
    return report


@pytest.mark.parametrize("how", ["live", "gcore"])
def test_kinds(program, tmp_path, how):
    with waiting(program, debug="audit=20") as process:
        at = addresses(process)
        target = target_of(process, how, tmp_path)
        live = ask(target, at["live"] + 10)
        assert live["kind"] == "buffer" and int(live["base"], 16) == at["live"]
        assert live["cache"] == "umem_alloc_112" and live["requested"] == 100
        assert live["thread"] == process.pid and live["age_s"] >= 0
        assert "allocate" in [frame["function"] for frame in live["stack"]]
        freed = ask(target, at["freed"])
        assert freed["kind"] == "free buffer"
        assert "release" in [frame["function"] for frame in freed["stack"]]
        assert "allocate" in [frame["function"] for frame in freed["allocated_stack"]]
        large = ask(target, at["large"] + 70000)
        assert large["kind"] == "buffer" and large["cache"] == "umem_oversize"
        assert large["requested"] == 1 << 20
        stack = ask(target, at["stack"])
        assert stack["kind"] == "stack" and stack["thread"] != process.pid
        main = ask(target, at["main"])
        assert main["kind"] == "stack" and main["thread"] == process.pid
        alloced = ask(target, at["alloced"])
        assert alloced["kind"] == "buffer" and alloced["cache"] == "stack_64k"
        mapping = ask(target, at["map"] + 5)
        assert mapping["kind"] == "mapping"
        data = ask(target, at["data"])
        assert data["kind"] == "mapping" and "in_data" in data["note"]
        code = ask(target, at["code"])
        assert code["kind"] == "mapping" and "main+0x0" in code["note"]
        assert ask(target, 16)["kind"] == "unknown"


def test_guard(program):
    with waiting(program) as process:
        at = addresses(process)
        assert ask(process.pid, at["guard"])["kind"] == "guard"
        # The guard of a stack that libc made: below it, in its own mapping.
        own = ask(process.pid, at["stack"])
        assert ask(process.pid, int(own["base"], 16) - 1)["kind"] == "guard"


def test_text(program):
    with waiting(program, debug="audit=20") as process:
        at = addresses(process)
        result = umem("whatis", process.pid, hex(at["live"] + 4), f"{at['freed']:x}", "0x10")
    assert result.returncode == 0, result
    assert f"{at['live']:#x}+0x4, in a buffer of 112 bytes (100 requested)" in result.stdout
    assert '"what a live buffer holds"' in result.stdout
    assert "a free buffer of" in result.stdout and "  freed " in result.stdout
    assert "0x10 is unknown: nothing is mapped there" in result.stdout


def test_several_as_json(program):
    with waiting(program) as process:
        report = umem_json("whatis", process.pid, "0x10", "0x20")
    assert [entry["address"] for entry in report] == ["0x10", "0x20"]


HELD = """#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
struct node { struct node *next; char room[40]; };
static struct node *chain;
static __thread struct node *volatile local;
static char *volatile hidden;
static volatile int ready;
__attribute__((noipa)) static struct node *make(struct node *next)
{
    struct node *n = malloc(sizeof(*n));
    n->next = next;
    return n;
}
__attribute__((noipa)) static void scrub(void)
{
    char room[8192];
    memset(room, 0, sizeof(room));
    __asm__ volatile("" : : "r"(room) : "memory");
}
static void *thread(void *arg)
{
    local = make(NULL);
    char *volatile on_stack = malloc(500);
    printf("local %p\\nstacked %p\\n", (void *)local, (void *)on_stack);
    ready = 1;
    pause();
    return on_stack + (arg != NULL);
}
__attribute__((noipa)) static void prepare(void)
{
    struct node *last = make(NULL);
    struct node *middle = make(last);
    chain = make(middle);
    printf("first %p\\nmiddle %p\\nlast %p\\n", (void *)chain, (void *)middle, (void *)last);
    char *lost = malloc(300);
    printf("lost %p\\n", lost);
    hidden = lost;
    hidden = NULL;
}
int main(void)
{
    pthread_t t;
    setvbuf(stdout, NULL, _IOLBF, 0);
    prepare();
    scrub();
    pthread_create(&t, NULL, thread, NULL);
    while (!ready)
        usleep(1000);
    printf("chain %p\\n", (void *)&chain);
    puts("ready");
    pause();
    return 0;
}
"""


@pytest.mark.parametrize("how", ["live", "gcore"])
def test_path(tmp_path, how):
    held = build(tmp_path, HELD, libs=())
    with waiting(held) as process:
        at = addresses(process)
        target = target_of(process, how, tmp_path)
        last = umem_json("whatis", "--path", target, hex(at["last"] + 3))["path"]
        local, stacked, lost, nothing = umem_json(
            "whatis", "-p", target, *(hex(at[name]) for name in ("local", "stacked", "lost")), "10")
        text = umem("whatis", "--path", target, hex(at["last"]), hex(at["lost"])).stdout
        plain = umem_json("whatis", target, hex(at["last"]))
    assert [step["address"] for step in last] == [
        hex(at[name]) for name in ("chain", "first", "middle")]
    assert [step["buffer"] for step in last] == [
        hex(at[name]) for name in ("first", "middle", "last")]
    assert "chain" in last[0]["place"] and last[1]["place"].startswith("umem_alloc_48+0x0 in ")
    # libc puts the thread-local storage of a thread into the mapping of its stack.
    assert local["path"][0]["place"].startswith(("thread-local storage of ", "stack of thread "))
    assert stacked["path"][0]["place"].startswith(("stack of thread ", "a register of thread "))
    assert lost["path"] == [] and "path" not in nothing and "path" not in plain
    lines = text.splitlines()
    assert "  held by" in lines and "  no root leads to it: it is leaked, or held in a way that " \
        "is not seen" in lines
    assert any(line.startswith(f"    {at['middle']:#x}") and line.endswith(
        f"-> {at['last']:#x}  umem_alloc_48+0x0 in buffer {at['middle']:#x}") for line in lines)


def test_refused(program):
    with waiting(program) as process:
        assert "not an address" in refused("whatis", str(process.pid), "xyz")
        refused("whatis", str(process.pid))


FREED = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char *volatile block, *volatile live, *volatile large;
int main(void)
{
    for (int i = 0; i < 3; i++) {
        block = malloc(300);
        snprintf(block, 300, "what it held in turn %d", i);
        free(block);
    }
    large = malloc(1000000);
    memset(large, 0xa5, 1000000);
    printf("block %p\\nlarge %p\\n", block, large);
    free(large);
    live = malloc(100);
    strcpy(live, "what it holds");
    printf("live %p\\nready\\n", live);
    fflush(stdout);
    pause();
    return 0;
}
"""


@pytest.mark.parametrize("how", ["live", "gcore"])
def test_what_a_freed_buffer_held(tmp_path, how):
    program = build(tmp_path, FREED, libs=())
    # Without quarantine all three are one block: the last record of it counts.
    with waiting(program, debug="audit=8,guards,contents=64,quarantine=0") as process:
        target = target_of(process, how, tmp_path)
        at = dict(line.split() for line in process.lines if line.count(" ") == 1)
        report = umem_json("whatis", target, at["block"])
        assert report["kind"] == "free buffer"
        assert report["freed_contents"] == '"what it held in turn 2"'
        assert '  freed with  "what it held in turn 2"\n' in umem("whatis", target,
                                                                 at["block"]).stdout
        shell = umem("shell", "-e", f"{at['block'][2:]}::whatis -v", target).stdout
        assert 'freed with "what it held in turn 2"\n' in shell
        report = umem_json("whatis", target, at["live"])
        assert report["kind"] == "buffer" and "freed_contents" not in report


def test_no_contents_without_the_log(tmp_path):
    program = build(tmp_path, FREED, libs=())
    with waiting(program, debug="audit=8,guards") as process:
        at = dict(line.split() for line in process.lines if line.count(" ") == 1)
        report = umem_json("whatis", process.pid, at["block"])
    assert report["kind"] == "free buffer" and "freed_contents" not in report
