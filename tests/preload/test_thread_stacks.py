# SPDX-License-Identifier: MIT
"""Unmodified programs on stacks of libstackalloc: the same results as without."""

import pathlib
import shutil

import pytest

from harness import compile_c, paths, run

WAYS_C = pathlib.Path(__file__).parent / "thread_ways.c"
ASYNC = pathlib.Path(__file__).parent / "thread_async.cc"
SIZES = (None, "32k", "256k", "2m")


def under(size):
    """Arguments of run() for the preload, with a size for threads that ask for none."""
    return dict(preload=paths.library("libstackalloc_preload.so.1"),
                env={"STACKALLOC_OPTIONS": f"size={size}" if size else None})


def same_as_without(argv, size, **options):
    plain = run(argv, **options)
    with_it = run(argv, **under(size), **options)
    for done in (plain, with_it):
        assert done.returncode == 0, done
        assert done.stderr == plain.stderr, done
    assert with_it.stdout == plain.stdout, with_it


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    return compile_c(WAYS_C, tmp_path_factory.mktemp("ways") / "ways", flags=["-pthread"])


@pytest.mark.parametrize("size", SIZES)
def test_detached_cancelled_and_exiting_threads(ways, size):
    same_as_without([ways, "400"], size)


def test_threads_on_filled_stacks(ways):
    same_as_without([ways, "400"], "256k,watermark")


@pytest.mark.parametrize("asked, size, gets", [
    (0, None, 8 << 20), (0, "64k", 64 << 10), (0, "40k", 64 << 10), (200000, None, 256 << 10),
    (200000, "32k", 256 << 10), (2 << 20, "32k", 2 << 20), (3 << 20, "32k", 3 << 20)])
def test_sizes(ways, asked, size, gets):
    argv = ["sh", "-c", f"ulimit -s 8192; exec '{ways}' size {asked}"]
    done = run(argv, **under(size))
    assert (done.returncode, done.stdout) == (0, f"{gets}\n"), done


def test_own_stack_is_left_alone(ways):
    done = run([ways, "own"], **under("64k"))
    assert (done.returncode, done.stdout) == (0, "own\n"), done


@pytest.mark.parametrize("value, said", [
    ("size=3m", "size=3m"), ("size=", "size="), ("size=64kb", "size=64kb"), ("size=0", "size=0"),
    ("size=99999999999999999999", "size=99999999999999999999"), ("sizes=1", "sizes=1"),
    ("size=64k, depth", "depth")])
def test_options_that_are_none(ways, value, said):
    done = run([ways, "size", "65536"], preload=paths.library("libstackalloc_preload.so.1"),
               env={"STACKALLOC_OPTIONS": value})
    assert done.returncode == 0 and done.stdout == "65536\n", done
    assert done.stderr == (f'stackalloc: STACKALLOC_OPTIONS: "{said}": '
                           "give size=N, 32k to 2m, or watermark\n"), done


def test_threads_of_cxx(tmp_path):
    program = compile_c(ASYNC, tmp_path / "async", flags=["-pthread", "-std=c++17"])
    for size in SIZES[2:]:
        same_as_without([program], size)


PYTHON = """
import threading
threads = [threading.Thread(target=lambda i=i: found.append(sum(range(i)))) for i in range(200)]
found = []
for t in threads: t.start()
for t in threads: t.join()
gate = threading.Barrier(201)
many = [threading.Thread(target=gate.wait) for _ in range(200)]
for t in many: t.start()
gate.wait()
for t in many: t.join()
print(sum(found), len(found))
"""


def test_python_with_200_threads():
    same_as_without(["python3", "-c", PYTHON], "256k")


JAVA = """
import java.util.stream.*;
public class T {
    static int depth(int n) { return n == 0 ? 0 : 1 + depth(n - 1); }
    public static void main(String[] a) throws Exception {
        long[] sum = new long[1];
        for (int round = 0; round < 5; round++) {
            Thread[] all = new Thread[50];
            for (int i = 0; i < 50; i++) {
                final int n = i;
                all[i] = new Thread(() -> { synchronized (sum) { sum[0] += depth(n * 10); } });
                all[i].start();
            }
            for (Thread t : all) t.join();
        }
        Thread deep = new Thread(() -> {
            try { depth(100000000); } catch (StackOverflowError e) { System.out.println("deep"); }
        });
        deep.start();
        deep.join();
        System.out.println(sum[0] + " " + IntStream.range(0, 100000).parallel().sum());
    }
}
"""


def test_java(tmp_path):
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    (tmp_path / "T.java").write_text(JAVA)
    same_as_without(["java", tmp_path / "T.java"], "1m", timeout=120)


def test_node():
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    text = ("const c=require('crypto');let n=0;for(let i=0;i<20;i++)"
            "c.pbkdf2('a',''+i,1000,32,'sha256',(e,k)=>{if(e)throw e;"
            "if(++n==20)console.log(n)})")
    same_as_without(["node", "-e", text], "2m")


def test_umem_run_stacks(ways):
    for option, gets in (("--stacks", 2 << 20), ("--stacks=64k", 64 << 10), ("-s128k", 128 << 10)):
        done = run([paths.umem(), "run", option, "--", ways, "size", "0"])
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{gets}\n", ""), done


def test_program_that_links_the_library_too(tmp_path):
    """Its pthread_join() is the preload's round libstackalloc's round libc's: one counts."""
    program = compile_c(paths.REPO / "examples" / "stack_pthread.c", tmp_path / "stack_pthread",
                        package="stackalloc", flags=["-pthread"])
    for size in (None, "64k"):
        done = run([program], **under(size))
        assert (done.returncode, done.stdout) == (0, "1000 threads, one stack\n"), done


LARGE_LOCALS = """
#include <errno.h>
#include <stackalloc.h>
static __thread char locals[40000];
static void *fn(void *arg) { return locals[5] != 0 ? arg : locals; }
int main(void)
{
    pthread_t id;
    if (stack_pthread_create(&id, NULL, 32768, fn, NULL) != EINVAL)
        return 1;
    return stack_pthread_create(&id, NULL, 65536, fn, NULL) != 0 || pthread_join(id, NULL) != 0;
}
"""


def test_no_room_for_thread_local_variables(tmp_path):
    program = compile_c(LARGE_LOCALS, tmp_path / "locals", package="stackalloc",
                        flags=["-pthread"])
    done = run([program])
    assert done.returncode == 0, done
