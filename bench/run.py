#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times this library against other mallocs and prints ratios as markdown.

Every allocator runs every workload, one after the other in each round, so that
what else the machine does hits all of them; a figure is the median of the
rounds.  Ratios count, times do not: below 1.00 ours is faster (or smaller).

  bench/run.py [--rounds N] [--ms N] [--quick] [--only pairs|programs] BUILD
"""

import argparse
import collections
import glob
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "tests"))
from harness import clean_env, paths  # noqa: E402

# Debian's packages of the peers (scripts/deps bench).
PEERS = {
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2.0",
    "tcmalloc": "libtcmalloc_minimal.so.4",
}
OURS = "umem"
CACHE = "umem_cache_*"
GLIBC = "glibc"

PATTERNS = ["lifo", "fifo-1000", "fifo-50000", "random-50000", "pipe", "large"]
TIMEOUT_S = 600
MIB = 1 << 20


def find_library(name):
    for directory in ("/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"):
        for path in glob.glob(f"{directory}/{name}"):
            return path
    return None


def allocators():
    """Name -> what to preload, in the order of the columns."""
    result = {GLIBC: None}
    for name, library in PEERS.items():
        path = find_library(library)
        if path:
            result[name] = path
        else:
            print(f"{name}: {library} is not installed: left out", file=sys.stderr)
    result[OURS] = str(paths.libumem())
    return result


def environment(preload):
    return clean_env(preload=preload or False)


# --- Pairs ---------------------------------------------------------------


def pairs(options, table):
    """(pattern, threads) -> allocator -> [ns]."""
    program = options.build / "bench" / "pairs"
    results = collections.defaultdict(lambda: collections.defaultdict(list))
    for _ in range(options.rounds):
        for pattern in PATTERNS:
            for threads in (1, 2):
                columns = dict(table)
                if pattern != "large":  # larger than objects are
                    columns[CACHE] = table[OURS]
                for name, preload in columns.items():
                    command = [program, pattern, str(threads), str(options.ms)]
                    if name == CACHE:
                        command.append("cache")
                    done = subprocess.run(command, env=environment(preload), check=True,
                                          capture_output=True, text=True, timeout=TIMEOUT_S)
                    results[pattern, threads][name].append(float(done.stdout))
    return results


# --- Programs ------------------------------------------------------------

PYTHON_SCRIPT = """
import collections, json, random, re
random.seed(1)
words = ["".join(random.choice("abcdefghij") for _ in range(random.randint(3, 12)))
         for _ in range(SIZE)]
index = collections.defaultdict(list)
for i, word in enumerate(words):
    index[word[:3]].append({"word": word, "at": i, "tags": [word[::-1], word.upper()]})
text = json.dumps(index)
again = json.loads(text)
found = re.findall(r'"word": "(ab[a-z]+)"', text)
tree = None
for word in words:
    tree = (tree, word) if len(word) % 2 else (word, tree)
print(len(text), len(again), len(found), sum(len(v) for v in again.values()))
"""

PERL_SCRIPT = """
my %h; my $x = 1;
for my $i (1..SIZE) {
    $x = ($x * 1103515245 + 12345) % 2147483648;
    my $key = "key" . ($x % 50000);
    push @{$h{$key}}, { n => $i, text => "value $i " x 3 };
    delete $h{"key" . ($i % 50000)} if $i % 3 == 0;
}
my $n = 0;
for my $key (sort keys %h) { $n += scalar grep { $_->{text} =~ /(\\d+) value/ } @{$h{$key}}; }
print scalar(keys %h), " $n\\n";
"""

SQL_SCRIPT = """
create table t(id integer primary key, name text, value real);
with recursive c(n) as (select 1 union all select n + 1 from c where n < SIZE)
  insert into t select n, 'name ' || (n * 7919 % 100003), n * 0.5 from c;
create index i on t(name);
select count(*), sum(value) from t where name between 'name 2' and 'name 5';
select name, count(*), group_concat(id) from t group by name having count(*) > 5 limit 5;
update t set name = upper(name) || id where id % 3 = 0;
select count(distinct name) from t;
"""


def c_source(functions):
    """A file that keeps gcc -O2 busy."""
    parts = ["#include <stdio.h>\n#include <string.h>\n"]
    for i in range(functions):
        parts.append(f"""
struct s{i} {{ int a, b[{i % 13 + 2}]; struct s{i} *next; const char *name; }};
static int f{i}(struct s{i} *p, int n)
{{
    int sum = 0;
    for (int i = 0; i < n; i++) {{
        switch ((p->a + i) % 7) {{
        case 0: sum += p->b[i % {i % 13 + 2}] * {i}; break;
        case 1: sum ^= (int)strlen(p->name) << (i & 3); break;
        case 2: if (p->next) sum -= p->next->a / (i + 1); break;
        default: sum += sum / (n - i + {i + 1}) + {i * 37 % 1009};
        }}
    }}
    return sum;
}}
int g{i}(int n)
{{
    struct s{i} x = {{ n, {{ 1, 2 }}, 0, "s{i}" }}, y = {{ n * 2, {{ 3 }}, &x, "t{i}" }};
    return f{i}(&y, n) + f{i}(&x, n / 2);
}}
""")
    return "".join(parts)


def make_git_repository(directory, commits):
    """A small history of growing files."""
    env = dict(clean_env(), GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@example.org",
               GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@example.org",
               GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
    directory.mkdir()
    subprocess.run(["git", "init", "-q", directory], check=True, env=env)
    stream = []
    for i in range(commits):
        stream.append(f"commit refs/heads/master\n"
                      f"committer a <a@example.org> {1000000000 + i} +0000\n"
                      f"data <<E\ncommit {i}\nE\n")
        for j in range(8):
            lines = "".join(f"line {k} of {(i * 31 + k * j) % 977}\n" for k in range(40 + i % 60))
            stream.append(f"M 644 inline dir{j}/file{(i + j) % 50}.txt\ndata <<E\n{lines}E\n")
        stream.append("\n")
    subprocess.run(["git", "-C", directory, "fast-import", "--quiet"], check=True, env=env,
                   input="".join(stream).encode())


def programs_to_run(scratch, quick):
    """Name -> (argv, cwd); inputs are made in scratch."""
    scale = 20 if quick else 1
    work = {}

    def script(name, text, size):
        path = scratch / name
        path.write_text(text.replace("SIZE", str(size // scale)))
        return path

    work["python3"] = (["/usr/bin/python3", script("work.py", PYTHON_SCRIPT, 150000)], scratch)
    work["perl"] = (["perl", script("work.pl", PERL_SCRIPT, 600000)], scratch)
    sql = script("work.sql", SQL_SCRIPT, 400000)
    work["sqlite3"] = (["sqlite3", ":memory:", f".read {sql}"], scratch)
    (scratch / "big.c").write_text(c_source(800 // scale))
    work["gcc -O2"] = (["gcc", "-O2", "-c", "big.c", "-o", "big.o"], scratch)
    make_git_repository(scratch / "repo", 1500 // scale)
    work["git log -p"] = (["git", "log", "-p", "--stat"], scratch / "repo")
    work["git repack"] = (["git", "repack", "-adfq", "--threads=2"], scratch / "repo")
    if shutil.which("xz"):
        big = "".join(f"{i * 7919 % 1000003} some text {i % 97}\n" for i in range(800000 // scale))
        (scratch / "big.txt").write_text(big)
        work["xz -T2"] = (["xz", "-2", "-T2", "-kfc", "big.txt"], scratch)
    return {name: entry for name, entry in work.items() if shutil.which(str(entry[0][0]))}


def run_program(options, argv, cwd, preload, output):
    """Wall seconds and peak resident bytes (of the largest process)."""
    command = [options.build / "bench" / "measure", output, preload or "-", *argv]
    subprocess.run([str(part) for part in command], cwd=cwd, env=clean_env(), check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
    seconds, kib = output.read_text().split()
    return float(seconds), int(kib) * 1024


def programs(options, table, scratch):
    """Program -> allocator -> [(s, bytes)]."""
    results = collections.defaultdict(lambda: collections.defaultdict(list))
    work = programs_to_run(scratch, options.quick)
    for _ in range(options.rounds):
        for name, (argv, cwd) in work.items():
            for allocator, preload in table.items():
                results[name][allocator].append(
                    run_program(options, argv, cwd, preload, scratch / "measured"))
    return results


# --- Tables --------------------------------------------------------------


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def row(cells):
    return "| " + " | ".join(cells) + " |"


def print_table(title, unit, medians, columns, show):
    """Rows of medians (row -> column -> value), then ratios of ours."""
    peers = [name for name in columns if name not in (OURS, CACHE)]
    print(f"\n### {title}\n")
    extra = [f"{OURS} / best peer", f"{OURS} / {GLIBC}"]
    print(row([unit, *columns, *extra]))
    print("|---|" + "---:|" * (len(columns) + len(extra)))
    best_ratios, glibc_ratios = [], []
    for name, values in medians.items():
        best = values[OURS] / min(values[peer] for peer in peers)
        glibc = values[OURS] / values[GLIBC]
        best_ratios.append(best)
        glibc_ratios.append(glibc)
        print(row([name, *(show(values[c]) if c in values else "" for c in columns),
                   f"{best:.2f}", f"{glibc:.2f}"]))
    means = [f"**{geometric_mean(ratios):.2f}**" for ratios in (best_ratios, glibc_ratios)]
    print(row(["**geometric mean**", *("" for _ in columns), *means]))


def print_pairs(results, table):
    columns = [*table, CACHE]
    medians = {}
    for (pattern, threads), values in results.items():
        name = f"{pattern}, {threads} thread{'s' if threads > 1 else ''}"
        medians[name] = {c: statistics.median(v) for c, v in values.items()}
    small = {n: v for n, v in medians.items() if not n.startswith("large")}
    large = {n: {c: t / 1000 for c, t in v.items()} for n, v in medians.items()
             if n.startswith("large")}
    print_table("Alloc + free pairs, 256 bytes", "ns a pair", small, columns, "{:.1f}".format)
    print_table("Blocks of 5 to 25 MB, every page touched", "us a pair", large, list(table),
                "{:.0f}".format)


def print_programs(results, table):
    times, sizes = {}, {}
    for name, values in results.items():
        times[name] = {c: statistics.median(s for s, _ in v) for c, v in values.items()}
        sizes[name] = {c: statistics.median(b for _, b in v) for c, v in values.items()}
    columns = list(table)
    print_table("Programs, wall time", "s", times, columns, "{:.2f}".format)
    print_table("Programs, peak resident memory", "MiB", sizes, columns,
                lambda size: f"{size / MIB:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ms", type=int, default=300, help="time of one pairs run")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run?")
    parser.add_argument("--only", choices=("pairs", "programs"))
    parser.add_argument("build", type=pathlib.Path)
    options = parser.parse_args()
    options.build = options.build.resolve()
    os.environ["UMEM_BUILD"] = str(options.build)
    if options.quick:
        options.rounds, options.ms = 1, 20

    table = allocators()
    if options.only != "programs":
        print_pairs(pairs(options, table), table)
    if options.only != "pairs":
        with tempfile.TemporaryDirectory(prefix="umem-bench-") as scratch:
            print_programs(programs(options, table, pathlib.Path(scratch)), table)
    print(f"\nMedians of {options.rounds} interleaved rounds, {os.cpu_count()} CPUs. "
          "A ratio below 1.00 says that ours is faster or smaller.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
