# SPDX-License-Identifier: MIT
"""`umem stacks` tells how deep each thread went of a program run by `umem run --stacks`."""

import json
import os
import shutil

import pytest

from harness import Background, compile_c, paths, run, wait_for
from test_servers import NGINX_CONFIG, fetch_all, free_port, wait_for_port

STACKS = "--stacks=1m,watermark"
READY = "ready"

PYTHON = """
import threading, time
gate = threading.Barrier(201)
def down(n):
    if n:
        return list(map(down, [n - 1])) # by way of C: there the stack grows
    gate.wait()
    time.sleep(1000)
for i in range(200):
    threading.Thread(target=down, args=(i % 50,), daemon=True).start()
gate.wait()
print("ready", flush=True)
time.sleep(1000)
"""

JAVA = """
public class T {
    static void down(int n) throws Exception {
        if (n > 0) { down(n - 1); return; }
        synchronized (T.class) { if (++waiting == 20) System.out.println("ready"); }
        Thread.sleep(1000000);
    }
    static int waiting;
    public static void main(String[] a) throws Exception {
        for (int i = 0; i < 20; i++) {
            final int n = i;
            new Thread(() -> { try { down(n * 10); } catch (Exception e) { } }).start();
        }
        Thread.sleep(1000000);
    }
}
"""

NODE = """
const { Worker } = require('worker_threads');
let n = 0;
require('crypto').pbkdf2('a', 'b', 1, 32, 'sha256', () => {
    for (let i = 0; i < 3; i++)
        new Worker("require('worker_threads').parentPort.postMessage(1);" +
                   "setInterval(() => {}, 1e6)", { eval: true })
            .on('message', () => { if (++n == 3) console.log('ready'); });
});
"""

ASYNC = """
#include <future>
#include <iostream>
#include <vector>
#include <unistd.h>
static int __attribute__((noipa)) down(int n, std::shared_future<int> gate, std::promise<void> *in)
{
    volatile char frame[1000];
    frame[0] = 1;
    if (n > 0)
        return down(n - 1, gate, in) + frame[0];
    in->set_value();
    return gate.get();
}
int main()
{
    std::promise<int> gate;
    std::shared_future<int> wait = gate.get_future().share();
    std::vector<std::promise<void>> in(50);
    std::vector<std::future<int>> all;
    for (int i = 0; i < 50; i++)
        all.push_back(std::async(std::launch::async, down, i, wait, &in[i]));
    for (auto &one : in)
        one.get_future().get();
    std::cout << "ready" << std::endl;
    pause();
}
"""


def need(name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")


def on_stacks(argv, **options):
    return Background([paths.umem(), "run", STACKS, "--", *argv], **options)


def stacks_of(pid):
    """How deep each thread on a stack of the library went; now it is no deeper."""
    result = run([paths.umem(), "stacks", "--format=json", pid])
    assert result.returncode == 0, result
    rows = [row for row in json.loads(result.stdout)["stacks"] if row["thread"] != 0]
    for row in rows:
        assert row["state"] == "in use", row
        # The red zone below the stack pointer is used, and not counted as depth.
        assert 0 < row["depth"] <= row["high_water"] <= row["size"], row
    return {row["thread"]: row["high_water"] for row in rows}


def threads_of(pid):
    """But the first."""
    return {int(name) for name in os.listdir(f"/proc/{pid}/task")} - {pid}


def test_python():
    with on_stacks(["python3", "-c", PYTHON]) as process:
        process.wait_for_line(READY)
        depths = stacks_of(process.pid)
        assert depths.keys() == threads_of(process.pid) and len(depths) == 200
        assert len(set(depths.values())) > 1, depths  # they are not equally deep


def test_cxx_async(tmp_path):
    source = tmp_path / "async.cc"
    source.write_text(ASYNC)
    program = compile_c(source, tmp_path / "async", flags=["-O1", "-pthread", "-std=c++17"])
    with on_stacks([program]) as process:
        process.wait_for_line(READY)
        depths = stacks_of(process.pid)
        assert depths.keys() == threads_of(process.pid) and len(depths) == 50
        assert max(depths.values()) > min(depths.values()) + 49 * 1000, depths


def test_java(tmp_path):
    need("java")
    (tmp_path / "T.java").write_text(JAVA)
    with on_stacks(["java", "-Xmx64m", "T.java"], cwd=tmp_path) as process:
        process.wait_for_line(READY)
        depths = stacks_of(process.pid)
        # Some of the machine's own want more than there is: those are libc's.
        assert depths.keys() <= threads_of(process.pid) and len(depths) >= 20, depths


def test_node():
    need("node")
    with on_stacks(["node", "-e", NODE]) as process:
        process.wait_for_line(READY)
        depths = stacks_of(process.pid)
        assert depths.keys() <= threads_of(process.pid) and len(depths) >= 4, depths


def test_redis(tmp_path):
    need("redis-server")
    port = free_port()
    with on_stacks(["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", tmp_path,
                    "--save", "", "--io-threads", "4"], cwd=tmp_path) as process:
        wait_for_port(port, process)
        wait_for(lambda: len(stacks_of(process.pid).keys() & threads_of(process.pid)) >= 3,
                 what="stacks of redis's own threads")


def test_nginx(tmp_path):
    need("nginx")
    if "--with-threads" not in run(["nginx", "-V"]).stderr:
        pytest.skip("nginx is built without threads")
    port = free_port()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "0").write_bytes(b"x" * 100000)
    user = "user root;" if os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(NGINX_CONFIG.format(
        dir=tmp_path, port=port, user=user, more="aio threads; directio 512;"))
    with on_stacks(["nginx", "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e",
                    tmp_path / "error.log"], cwd=tmp_path) as process:
        wait_for_port(port, process)
        failures = []
        fetch_all(port, {}, 1, failures)
        assert failures == []
        # Two workers, whose pools of threads begin some time after the port is open.
        workers = wait_for(lambda: len(children_of(process.pid)) == 2 and children_of(process.pid),
                           what="workers")
        for worker in workers:
            wait_for(lambda pid=worker: stacks_of(pid).keys() == threads_of(pid) != set(),
                     what="stack for each thread of a worker")


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]
