# SPDX-License-Identifier: MIT
"""Inputs of the benchmark's programs: scripts, and files that are made in a
scratch directory.  SIZE in a script stands for how much it is to do."""

import json
import random
import subprocess

from benchlib.runner import clean_env

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


NODE_SCRIPT = """
let x = 1;
function next() { x = (x * 1103515245 + 12345) % 2147483648; return x; }
let total = 0;
for (let round = 0; round < SIZE; round++) {
    const items = [];
    for (let i = 0; i < 2000; i++)
        items.push({ id: next(), name: "item " + next() % 1000, tags: ["a" + i, "b" + round],
                     data: Buffer.alloc(16 + next() % 2000) });
    const text = JSON.stringify(items.map(e => ({ ...e, data: e.data.length })));
    total += JSON.parse(text).filter(e => e.id % 3 == 0).length;
    total += Buffer.from(text).toString("base64").length;
}
console.log(total);
"""

LUA_SCRIPT = """
local live, x = {}, 1
for i = 1, SIZE do
    x = (x * 1103515245 + 12345) % 2147483648
    local key = "key" .. x % 20000
    live[key] = { n = i, text = ("value " .. i):rep(1 + x % 5), list = { i, x, key } }
    if i % 3 == 0 then live["key" .. i % 20000] = nil end
end
local parts = {}
for key, value in pairs(live) do
    parts[#parts + 1] = key .. "=" .. value.text:upper():gsub("%d+", "<%0>")
end
table.sort(parts)
print(#parts, #table.concat(parts, ";"))
"""

AWK_SCRIPT = """
{
    count[$2 " " $3]++; sum[$1 % 5000] += $NF
    words[NR % 20000] = $3 ":" $1
    line = $0; gsub(/some/, "any", line); total += length(line)
}
END {
    for (key in count) n++
    for (key in words) { split(words[key], part, ":"); total += length(part[2]) }
    print n, total
}
"""

JQ_SCRIPT = """[.[] | select(.id % 3 != 0) | {name, n: (.tags | length), s: (.name + .tags[0])}]
    | group_by(.n) | map({key: .[0].n, names: (map(.s) | unique | length)})"""


def make_json(path, items):
    """An array of small objects, as an API would return."""
    state = random.Random(1)
    path.write_text(json.dumps([
        {"id": i, "name": f"name {state.randrange(10000)}", "value": state.random(),
         "tags": [f"tag{state.randrange(100)}" for _ in range(state.randrange(1, 6))]}
        for i in range(items)]))


def make_lines(path, lines):
    """Lines of numbers and words, in no order."""
    path.write_text("".join(f"{i * 7919 % 1000003} some text {i % 97}\n" for i in range(lines)))
