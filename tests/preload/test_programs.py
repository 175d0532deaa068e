# SPDX-License-Identifier: MIT
"""Real programs under the preload: same output and exit code as without, no message.

Each case prepares its input without the library and then runs a shell script,
so that the shell and everything it starts are under the library.  The quick set
runs small inputs of what is installed; the full set (marker `programs`) large
ones.
"""

import dataclasses
import json
import pathlib
import random
import shutil
import subprocess
from typing import Callable

import pytest

from harness import clean_env, run

WORK = pathlib.Path(__file__).parent / "programs"
QUICK_TIMEOUT_S, FULL_TIMEOUT_S = 120, 900


@dataclasses.dataclass
class Case:
    name: str
    needs: tuple  # programs that have to be there
    script: str  # bash; $SCALE, $WORK (the folder of scripts), the directory is its own
    prepare: Callable = None  # called with the directory and the scale
    quick: int = 1  # scales
    full: int = 5
    env: dict = dataclasses.field(default_factory=dict)

    def __str__(self):
        return self.name


def generate_c(directory, scale):
    """A C file of 2,000 lines a unit of scale: structures, loops, strings, switches."""
    lines = ["#include <stdio.h>", "#include <string.h>", "#include <stdlib.h>"]
    number = 0
    while len(lines) < 2000 * scale:
        lines += [
            f"struct s{number} {{ int a[{number % 17 + 1}]; struct s{number} *next; "
            "const char *name; };",
            f"static int f{number}(struct s{number} *s, int n)", "{", "    int sum = 0;",
            f"    for (int i = 0; i < n % {number % 17 + 1}; i++)",
            f"        sum += s->a[i] * {number % 91};", f"    switch (n % {number % 5 + 2}) {{"]
        for case in range(number % 5 + 2):
            lines += [f"    case {case}:",
                      f"        sum ^= {case * number % 1000} + (int)strlen(s->name);",
                      "        break;"]
        lines += ["    }", f'    if (sum == {number})', f'        printf("f{number} %d\\n", sum);',
                  "    return s->next ? sum + n : sum;", "}",
                  f"int g{number}(int n)", "{", f"    struct s{number} s = {{{{n}}, 0, "
                  f'"name {number}"}};', f"    return f{number}(&s, n);", "}"]
        number += 1
    (directory / "generated.c").write_text("\n".join(lines) + "\n")


def generate_cxx(directory, scale):
    """Templates and containers, which make a compiler allocate."""
    lines = ["#include <map>", "#include <string>", "#include <vector>", "#include <memory>",
             "template <int N> struct T { std::map<std::string, std::vector<T<N - 1>>> m; "
             "T<N - 1> t; };", "template <> struct T<0> { int x = 0; };"]
    for number in range(10 * scale):
        lines += [f"size_t h{number}() {{ T<{number % 40 + 5}> t; "
                  f'std::map<std::string, std::shared_ptr<int>> m; m["k{number}"] = '
                  f"std::make_shared<int>({number}); return sizeof(t) + m.size(); }}"]
    (directory / "generated.cc").write_text("\n".join(lines) + "\n")


def generate_parts(directory, scale):
    """C++ files that call each other: two a unit of scale."""
    parts, functions = 2 * scale, 5
    calls = [(part, n) for part in range(parts) for n in range(functions)]
    (directory / "all.h").write_text("#include <cstddef>\n" + "".join(
        f"size_t f{part}_{n}(size_t n);\n" for part, n in calls))
    for part in range(parts):
        lines = ["#include <map>", "#include <string>", "#include <vector>", '#include "all.h"']
        lines += [f"size_t f{part}_{n}(size_t n) {{ std::map<std::string, std::vector<size_t>> m; "
                  f"for (size_t i = 0; i < n % {n + part + 3}; i++) "
                  f"m[std::to_string(i * {part + 1})].push_back(i); "
                  f"return m.size() + (n > 1 ? f{(part + 1) % parts}_{n}(n / 2) : 0); }}"
                  for n in range(functions)]
        (directory / f"part{part}.cc").write_text("\n".join(lines) + "\n")
    (directory / "main.cc").write_text(
        '#include "all.h"\n#include <cstdio>\nint main() { size_t s = 0;\n' + "".join(
            f"s += f{part}_{n}({part * 100 + n});\n" for part, n in calls) +
        'std::printf("%zu\\n", s); }\n')


def generate_sql(directory, scale):
    """20,000 inserts a unit of scale, and queries over them."""
    rng = random.Random(1)
    with open(directory / "work.sql", "w", encoding="ascii") as sql:
        sql.write("PRAGMA journal_mode=WAL;\nCREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, "
                  "value REAL, data BLOB);\nCREATE INDEX tn ON t(name);\nBEGIN;\n")
        for number in range(20000 * scale):
            sql.write(f"INSERT INTO t VALUES({number}, 'name{rng.randrange(5000)}', "
                      f"{rng.randrange(10**6)}, zeroblob({rng.randrange(60)}));\n")
        sql.write("COMMIT;\n")
        for number in range(500 * scale):
            sql.write(f"SELECT count(*), sum(value) FROM t WHERE name='name{number % 5000}';\n")
        sql.write("SELECT name, count(*) c, avg(value) FROM t GROUP BY name ORDER BY c DESC, name "
                  "LIMIT 20;\nSELECT count(*) FROM t a JOIN t b ON a.name=b.name AND a.id<b.id "
                  "WHERE a.id%50=0;\nUPDATE t SET name=name||'x' WHERE id%3=0;\n"
                  "DELETE FROM t WHERE id%7=0;\nSELECT count(*), sum(length(name)) FROM t;\n"
                  "PRAGMA integrity_check;\nVACUUM;\nSELECT count(*) FROM t;\n")


def generate_repository(directory, scale):
    """A repository of 150 commits a unit of scale, by git fast-import."""
    rng = random.Random(2)
    commits = []
    for number in range(150 * scale):
        who = f"A U Thor <author@example.org> {1500000000 + number * 1000} +0000"
        text = f"Commit {number}\n"
        commits.append(f"commit refs/heads/main\nauthor {who}\ncommitter {who}\n"
                       f"data {len(text)}\n{text}")
        for _ in range(rng.randrange(1, 6)):
            body = "".join(f"line {rng.randrange(300)}\n" for _ in range(rng.randrange(5, 400)))
            commits.append(f"M 100644 inline dir{rng.randrange(9)}/file{rng.randrange(40)}\n"
                           f"data {len(body)}\n{body}\n")
    repository = directory / "repository"
    env = clean_env(env={"HOME": directory})
    subprocess.run(["git", "init", "-q", "-b", "main", repository], check=True, env=env)
    subprocess.run(["git", "fast-import", "--quiet"], input="".join(commits), text=True,
                   cwd=repository, check=True, env=env)


def generate_text(directory, scale):
    rng = random.Random(3)
    with open(directory / "text", "w", encoding="ascii") as text:
        for _ in range(60000 * scale):
            text.write(f"{rng.randrange(10**9)} {'word ' * rng.randrange(8)}\n")


def generate_json(directory, scale):
    """4,000 records a unit of scale, nested, with strings of many lengths."""
    rng = random.Random(4)
    records = ({"id": number, "name": f"name{rng.randrange(3000)}",
                "tags": ["t" * rng.randrange(60) for _ in range(rng.randrange(6))],
                "at": {"x": rng.randrange(10**6), "y": [number] * 3}}
               for number in range(4000 * scale))
    with open(directory / "records.json", "w", encoding="ascii") as text:
        text.writelines(json.dumps(record) + "\n" for record in records)


CASES = [
    Case("ls", ("ls",), 'if [ "$SCALE" = 1 ]; then ls -lR /usr/include; '
                        'else ls -lR /usr; fi', env={"LC_ALL": "C"}),
    Case("python3", ("/usr/bin/python3",), '/usr/bin/python3 "$WORK/work.py" $SCALE',
         env={"PYTHONHASHSEED": "0"}),
    Case("python3-malloc", ("/usr/bin/python3",), '/usr/bin/python3 "$WORK/work.py" $SCALE',
         full=2, env={"PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc"}),
    Case("perl", ("perl",), 'perl "$WORK/work.pl" $SCALE'),
    Case("git-log", ("git",), "cd repository && git log --stat && git log -p --all | cksum && "
                              "git grep -c 'line 17' main | sort", generate_repository,
         env={"LC_ALL": "C"}),
    Case("git-gc", ("git",), "cd repository && git -c pack.threads=2 gc --quiet --aggressive && "
                             "git fsck --full && git rev-list --objects --all | sort | cksum && "
                             "git repack -a -d -q && git status --short && "
                             "git blame main -- $(git ls-tree -r --name-only main | head -1) | "
                             "cksum", generate_repository, full=4),
    Case("gcc", ("gcc",), "gcc -O1 -c generated.c -o generated.o && cksum < generated.o",
         generate_c, full=10),
    Case("g++", ("g++",), "g++ -O1 -c generated.cc -o generated.o && cksum < generated.o",
         generate_cxx),
    Case("g++-lto", ("g++",), "g++ -O1 -flto -c part*.cc main.cc && g++ -O1 -flto=2 -o all *.o && "
                              "./all && strip all && cksum < all", generate_parts, full=3),
    Case("sqlite3", ("sqlite3",), "sqlite3 work.db < work.sql", generate_sql),
    Case("node", ("node",), 'node "$WORK/work.js" $SCALE'),
    Case("lua", ("lua5.4",), 'lua5.4 "$WORK/work.lua" $SCALE', full=20),
    # Its modules are loaded so that they would have libc's malloc; then without its own allocator.
    Case("php", ("php",), 'php "$WORK/work.php" $SCALE'),
    Case("php-malloc", ("php",), 'php "$WORK/work.php" $SCALE', full=2,
         env={"USE_ZEND_ALLOC": "0"}),
    Case("ruby", ("ruby",), 'ruby "$WORK/work.rb" $SCALE'),
    Case("guile", ("guile",), 'guile --no-auto-compile "$WORK/work.scm" $SCALE'),
    Case("erlang", ("escript",), 'escript "$WORK/work.erl" $SCALE'),
    Case("sbcl", ("sbcl",), 'sbcl --noinform --no-sysinit --no-userinit --disable-debugger '
                            '--load "$WORK/work.lisp" --quit'),
    Case("jq", ("jq",), "jq -cs 'group_by(.name) | map({n: .[0].name, c: length, "
                        "x: (map(.at.x) | add), t: (map(.tags[]) | unique | join(\",\"))}) | "
                        "sort_by(-.c, .n) | .[:50][]' records.json; "
                        "jq -c 'select(.id % 7 == 0) | .name |= ascii_upcase | .tags |= sort' "
                        "records.json | cksum; jq . records.json | cksum", generate_json),
    Case("java-version", ("java",), "java -version"),
    Case("java", ("java", "javac"), 'java "$WORK/Work.java" $SCALE'),
    Case("bash-forks", ("bash", "seq", "sed"), 'bash "$WORK/forks.sh" 1000 $((SCALE * 60))'),
    Case("tar-xz", ("tar", "xz"),
         'if [ "$SCALE" = 1 ]; then what=include/linux; else what=include; fi; '
         "tar -C /usr --sort=name --mtime=@0 --owner=0 --group=0 --format=gnu -cf - $what | "
         "xz -2 -T2 --block-size=1MiB > all.tar.xz && cksum < all.tar.xz && "
         "xz -dc all.tar.xz | tar -xf - && "
         "find . -type f -print0 | sort -z | xargs -0 cksum | cksum"),
    Case("sort", ("sort", "awk", "grep"),
         "sort --parallel=2 -S 20M text | cksum; sort -n -k1 text | tail -2; "
         "awk '{ n[length($0)]++ } END { for (k in n) s += k * n[k]; print s }' text; "
         "grep -cE '(1|7).*word word$' text; sed 's/word/w/g' text | cksum", generate_text,
         env={"LC_ALL": "C"}),
    Case("gawk", ("gawk",), "gawk '{ n[$1 % 997] = n[$1 % 997] substr($0, 1, 9); split($0, w); "
                            "t += length(w) } END { m = asort(n); for (i = 1; i <= m; i += 50) "
                            "print n[i]; print t, m }' text | cksum", generate_text,
         env={"LC_ALL": "C"}),
    Case("clang-format", ("clang-format-14",), "clang-format-14 generated.c | cksum; "
                                               "clang-format-14 generated.cc | cksum",
         lambda directory, scale: (generate_c(directory, scale), generate_cxx(directory, scale))),
    Case("gdb", ("gdb",), "gdb -nx -batch -ex 'break exit' -ex run -ex 'info sharedlibrary libc' "
                          "-ex 'print (long) strtol(\"77\", 0, 8)' -ex continue /bin/true 2>&1 | "
                          "sed -E 's/process [0-9]+/process N/; s/0x[0-9a-f]+/ADDRESS/g'"),
    Case("openssl", ("openssl",), "openssl dgst -sha512 < text; openssl enc -aes-256-cbc -pbkdf2 "
                                  "-S 0102030405060708 -pass pass:x < text | cksum; "
                                  "openssl version; openssl list -digest-algorithms | cksum",
         generate_text),
    Case("ps", ("ps", "free"), "ps -p $$ -o comm,ppid | wc; ps aux | head -1; ps axjf | head -1; "
                               "free | wc -l; uptime -p | cut -c1-2"),
    Case("find", ("find",), "find /usr/share/doc -name 'c*' | sort | cksum; "
                            "find /usr/lib -type d -printf '%p %m\\n' | sort | cksum"),
]


def perform(case, scale, directory, **how):
    """Prepares a directory and runs the case's script there."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    if case.prepare is not None:
        case.prepare(directory, scale)
    env = {"SCALE": scale, "WORK": WORK, "HOME": directory, "GIT_CONFIG_NOSYSTEM": 1, **case.env}
    timeout = QUICK_TIMEOUT_S if scale == case.quick else FULL_TIMEOUT_S
    return run(["bash", "-o", "pipefail", "-c", case.script], env=env, cwd=directory,
               timeout=timeout, **how)


def shown(result):
    return result.returncode, result.stderr, result.stdout


# Without the library, by case and scale: run once.
expected = {}


def check(case, scale, mode, tmp_path):
    missing = [name for name in case.needs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    directory = tmp_path / "work"
    if (case.name, scale) not in expected:
        expected[case.name, scale] = perform(case, scale, directory)
    plain = expected[case.name, scale]
    assert plain.returncode == 0, plain
    result = perform(case, scale, directory, **mode)
    if shown(result) != shown(plain):
        again = perform(case, scale, directory)
        if shown(again) != shown(plain):  # the system's files have changed under us
            plain = expected[case.name, scale] = again
            result = perform(case, scale, directory, **mode)
    assert shown(result) == shown(plain), f"without the library: {plain}\nwith it: {result}"


def test_the_library_is_there(mode):
    """What the other tests rest on: the script's programs have the library."""
    result = run(["bash", "-c", "cat /proc/self/maps | grep -c libumem"], **mode)
    assert result.returncode == 0 and int(result.stdout) > 0, result


@pytest.mark.parametrize("case", CASES, ids=str)
def test_quick(case, mode, tmp_path):
    check(case, case.quick, mode, tmp_path)


# Left to the slow set, with the servers: each some seconds under every check.
LONG = ["python3-malloc", "git-gc", "g++", "g++-lto", "php-malloc", "ruby", "erlang", "node",
        "java", "bash-forks", "tar-xz"]


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in LONG], ids=str)
def test_clean_programs_pass_every_check(case, tmp_path):
    """None is stopped, none prints anything, at exit neither."""
    check(case, case.quick, dict(preload=True, debug="default,verify"), tmp_path)


SETTINGS = [dict(UMEM_DEBUG="default"), dict(UMEM_DEBUG="guards"), dict(UMEM_DEBUG="audit=255"),
            dict(UMEM_DEBUG="audit,contents=64", UMEM_LOGGING="contents=1m"),
            dict(UMEM_OPTIONS="nomagazines"), dict(UMEM_OPTIONS="allocator=best"),
            dict(UMEM_OPTIONS="perthread_cache=4k,max_contention=0"),
            dict(UMEM_OPTIONS="allocator=first"), dict(UMEM_OPTIONS="allocator=next")]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: " ".join(s.values()))
def test_settings(setting, tmp_path):
    """Other ways of running change nothing that a program shows either."""
    for case in CASES:
        if case.name in ("python3-malloc", "perl", "sort"):
            check(dataclasses.replace(case, env={**case.env, **setting}), case.quick,
                  dict(preload=True), tmp_path)


@pytest.mark.programs
@pytest.mark.parametrize("case", CASES, ids=str)
def test_full(case, mode, tmp_path):
    check(case, case.full, mode, tmp_path)
