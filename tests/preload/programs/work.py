# SPDX-License-Identifier: MIT
"""Python at work: threads, json, re, subprocess, containers.  Same output every run.

  work.py SCALE
"""

import concurrent.futures
import hashlib
import json
import re
import subprocess
import sys
import threading
import zlib

SCALE = int(sys.argv[1])


def documents(seed, count):
    state = seed
    for number in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        yield {"number": number, "name": f"item {state % 997}", "tags": ["a" * (state % 50)] * 3,
               "nested": {str(key): [key] * (state % 7) for key in range(state % 9)}}


def round_trip(seed):
    text = json.dumps(list(documents(seed, 300 * SCALE)), indent=1, sort_keys=True)
    again = json.loads(text)
    words = re.findall(r'"item (\d+)"', text)
    replaced = re.sub(r"(\w+) (\d+)", lambda m: m.group(2) + m.group(1), text)
    packed = zlib.compress(replaced.encode())
    return (seed, len(again), len(words),
            hashlib.sha256(zlib.decompress(packed)).hexdigest()[:16])


def child(number):
    done = subprocess.run([sys.executable, "-c", f"print(sum(range({number})))"],
                          capture_output=True, text=True, check=True)
    return done.stdout.strip()


def shared_dictionary():
    table, lock = {}, threading.Lock()

    def fill(start):
        for i in range(start, start + 2000 * SCALE):
            value = [str(i)] * (i % 20)
            with lock:
                table[i % 1000] = value

    threads = [threading.Thread(target=fill, args=(k * 10,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(table)


def main():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for line in pool.map(round_trip, range(8)):
            print(*line)
        for line in pool.map(child, range(100, 106)):
            print(line)
    print(shared_dictionary())
    cycle = []
    for _ in range(20000 * SCALE):
        a, b = {}, {}
        a["b"], b["a"] = b, a
    del cycle
    print(len({str(i): i for i in range(50000 * SCALE)}))


main()
