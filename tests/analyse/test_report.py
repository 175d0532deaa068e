# SPDX-License-Identifier: MIT
"""`umem report`: profiles for pprof and folded stacks say what `umem leaks` says."""

import collections
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness import gcore, paths, run
from leak_support import refused, umem, umem_json, waiting

KNOWN_LEAKS = paths.build() / "examples" / "known_leaks"
SITES = {"lose_small", "lose_medium", "lose_large", "lose_list", "lose_cycle", "keep"}

# Fields of profile.proto that hold messages, by (message, field).
MESSAGES = {("profile", 1): "value_type", ("profile", 2): "sample", ("profile", 3): "mapping",
            ("profile", 4): "location", ("profile", 5): "function", ("profile", 11): "value_type",
            ("sample", 3): "label", ("location", 4): "line"}
PACKED = {("sample", 1), ("sample", 2)}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value, at


def packed(data):
    numbers, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        numbers.append(value)
    return numbers


def decode(data, message="profile"):
    """A message as field number -> list of values."""
    fields, at = collections.defaultdict(list), 0
    while at < len(data):
        key, at = varint(data, at)
        field, kind = key >> 3, key & 7
        value, at = varint(data, at)
        if kind == 2:
            value, at = data[at:at + value], at + value
            if (message, field) in MESSAGES:
                value = decode(value, MESSAGES[message, field])
            elif (message, field) in PACKED:
                value = packed(value)
        else:
            assert kind == 0
        fields[field].append(value)
    return fields


class Profile:
    """What a reader of the format makes of a file."""

    def __init__(self, path):
        with gzip.open(path) as file:
            fields = decode(file.read())
        self.fields = fields
        self.strings = [text.decode() for text in fields[6]]
        self.functions = {f[1][0]: f for f in fields[5]}
        self.locations = {f[1][0]: f for f in fields[4]}
        self.mappings = {f[1][0]: f for f in fields[3]}
        self.types = [self.strings[f[1][0]] for f in fields[1]]
        self.samples = fields[2]

    def text(self, fields, number):
        return self.strings[fields[number][0]] if fields[number] else ""

    def stack(self, sample):
        """Function names, innermost first."""
        return [self.text(self.functions[line[1][0]], 2)
                for number in sample[1][0] for line in self.locations[number][4]]

    def values(self, sample):
        return dict(zip(self.types, sample[2][0]))

    def labels(self, sample):
        return {(self.text(label, 1), self.text(label, 2) or label[3][0]) for label in sample[3]}


def build_id(path):
    notes = subprocess.run(["readelf", "-n", path], check=True, capture_output=True, text=True)
    return re.search(r"Build ID: (\w+)", notes.stdout).group(1)


def site(names):
    return next((name for name in names if name in SITES), None)


@pytest.fixture(scope="module", params=["live", "gcore"])
def seen(request, tmp_path_factory):
    """The profile, the folded lines by value, and what umem leaks says of the same target."""
    directory = tmp_path_factory.mktemp("report")
    with waiting(KNOWN_LEAKS, debug="audit=64", preload=True) as process:
        target = process.pid if request.param == "live" else gcore(process.pid, directory)
        done = umem("report", target, f"--pprof={directory}/p.pb.gz",
                    f"--folded={directory}/bytes")
        assert done.returncode == 0, done
        assert re.match(r"\S+/p\.pb\.gz: [\d,]+ bytes; ", done.stdout), done
        folded = {"bytes": (directory / "bytes").read_text()}
        for value in ("objects", "leaked-bytes", "leaked-objects"):
            folded[value] = umem("report", target, "--folded=-", f"--value={value}").stdout
        leaks = umem_json("leaks", target, expect=1)
    return Profile(directory / "p.pb.gz"), folded, leaks


def test_profile_sums(seen):
    profile, _, leaks = seen
    assert profile.types == ["inuse_objects", "inuse_space", "leaked_objects", "leaked_space"]
    sums = collections.Counter()
    for sample in profile.samples:
        sums.update(profile.values(sample))
    assert sums["inuse_objects"] == leaks["live"]["buffers"]
    assert sums["inuse_space"] == leaks["live"]["bytes"]
    assert sums["leaked_objects"] == leaks["total"]["buffers"] == 1052
    assert sums["leaked_space"] == leaks["total"]["bytes"]
    assert profile.text(profile.fields, 14) == "inuse_space"


def test_profile_stacks(seen):
    profile, _, leaks = seen
    found, expected = collections.Counter(), collections.Counter()
    for sample in profile.samples:
        leaked = profile.values(sample)["leaked_objects"]
        if leaked > 0:
            found[site(profile.stack(sample))] += leaked
            assert {text for key, text in profile.labels(sample) if key == "leak"}
    for group in leaks["groups"]:
        expected[site(frame["function"] for frame in group["stack"])] += group["count"]
    assert found == expected and None not in found
    large = next(sample for sample in profile.samples
                 if site(profile.stack(sample)) == "lose_large")
    assert profile.labels(large) == {("cache", "umem_alloc_1024"), ("bytes", 1024),
                                     ("leak", "direct")}
    assert profile.stack(large)[1] == "main"


def test_profile_can_be_symbolised_anew(seen):
    """Address, mapping and build id lead to the function in the file."""
    profile, _, _ = seen
    symbols = subprocess.run(["nm", "--defined-only", "-S", KNOWN_LEAKS], check=True,
                             capture_output=True, text=True).stdout
    extents = {row[3]: (int(row[0], 16), int(row[1], 16))
               for row in map(str.split, symbols.splitlines()) if len(row) == 4}
    headers = subprocess.run(["readelf", "-lW", KNOWN_LEAKS], check=True, capture_output=True,
                             text=True).stdout
    loads = [[int(word, 16) for word in line.split()[1:5]]
             for line in headers.splitlines() if line.split()[:1] == ["LOAD"]]
    checked = 0
    for location in profile.locations.values():
        names = [profile.text(profile.functions[line[1][0]], 2) for line in location[4]]
        if site(names) is None:
            continue
        mapping = profile.mappings[location[2][0]]
        address = location[3][0]
        assert mapping[2][0] <= address < mapping[3][0]
        assert pathlib.Path(profile.text(mapping, 5)).name == "known_leaks"
        assert profile.text(mapping, 6) == build_id(KNOWN_LEAKS)
        offset = address - mapping[2][0] + (mapping[4][0] if mapping[4] else 0)
        virtual = next(offset - at + address_of for at, address_of, _, size in loads
                       if at <= offset < at + size)
        start, size = extents[names[-1]]
        assert start <= virtual < start + size, names
        assert os.path.basename(profile.text(profile.functions[location[4][0][1][0]], 4)) == \
            "known_leaks.c"
        checked += 1
    assert checked >= len(SITES) - 1


def test_folded(seen):
    profile, folded, _ = seen
    keys = {"bytes": "inuse_space", "objects": "inuse_objects", "leaked-bytes": "leaked_space",
            "leaked-objects": "leaked_objects"}
    for value, key in keys.items():
        found, expected = collections.Counter(), collections.Counter()
        for line in folded[value].splitlines():
            stack, number = re.fullmatch(r"(.*\S) (\d+)", line).groups()
            assert int(number) > 0
            found[tuple(stack.split(";"))] += int(number)
        for sample in profile.samples:
            if profile.values(sample)[key] > 0:
                expected[tuple(reversed(profile.stack(sample)))] += profile.values(sample)[key]
        assert found == expected


def test_without_stacks(tmp_path):
    with waiting(KNOWN_LEAKS, preload=True) as process:
        folded = umem("report", process.pid, "--folded=-")
        umem("report", process.pid, f"--pprof={tmp_path}/p")
    assert folded.returncode == 0, folded
    lines = dict(line.rsplit(" ", 1) for line in folded.stdout.splitlines())
    assert all(line.startswith("[no stack recorded];") for line in lines)
    assert int(lines["[no stack recorded];umem_alloc_1024"]) >= 200 * 1024
    profile = Profile(tmp_path / "p")
    assert ["umem_alloc_1024", "[no stack recorded]"] in map(profile.stack, profile.samples)


def test_suppressed_is_not_leaked(tmp_path):
    supp = tmp_path / "supp"
    supp.write_text("leak:lose_large\n")
    with waiting(KNOWN_LEAKS, debug="audit=64", preload=True) as process:
        folded = umem("report", process.pid, "--folded=-", "--value=leaked-objects",
                      f"--suppressions={supp}")
    assert "lose_medium" in folded.stdout and "lose_large" not in folded.stdout


@pytest.mark.parametrize("arguments, said", [
    (["report", "1"], "which file"),
    (["report", "--folded=x", "--value=nonsense", "1"], "--value=nonsense"),
    (["report", "--pprof=x", "/dev/null"], "/dev/null"),
])
def test_wrong_usage(arguments, said):
    assert said in refused(*arguments)


def test_cannot_be_written():
    with waiting(KNOWN_LEAKS, debug="audit=64", preload=True) as process:
        line = refused("report", "--pprof=/no/such/directory/p", str(process.pid))
        full = umem("report", "--pprof=/dev/full", process.pid)
        whole = umem("report", "--folded=/dev/full", process.pid)
    assert "/no/such/directory/p: No such file or directory; give another path" in line
    assert full.returncode == whole.returncode == 2
    assert "No space left" in full.stderr and "No space left" in whole.stderr


READER = """
const { readFileSync } = require("fs");
const { gunzipSync } = require("zlib");
const { Profile } = require("pprof-format");
const p = Profile.decode(gunzipSync(readFileSync(process.argv[1])));
const text = (n) => p.stringTable.strings[Number(n)];
const functions = new Map(p.function.map((f) => [String(f.id), text(f.name)]));
const locations = new Map(p.location.map((l) => [String(l.id), l]));
const out = p.sample.map((s) => [
  s.value.map(Number),
  s.locationId.flatMap((id) =>
    locations.get(String(id)).line.map((l) => functions.get(String(l.functionId))))]);
console.log(JSON.stringify(out));
"""


def test_another_reader(tmp_path):
    """npm's pprof-format, where it was had for building the page, sees the same."""
    modules = paths.build() / "src/analyse/page/report.html.p/node_modules"
    if shutil.which("node") is None or not (modules / "pprof-format").exists():
        pytest.skip("no node, or no pprof-format: npm was missing when umem was built")
    with waiting(KNOWN_LEAKS, debug="audit=64", preload=True) as process:
        umem("report", process.pid, f"--pprof={tmp_path}/p.pb.gz")
    done = run(["node", "-e", READER, tmp_path / "p.pb.gz"], env={"NODE_PATH": modules})
    assert done.returncode == 0, done
    ours = Profile(tmp_path / "p.pb.gz")
    assert json.loads(done.stdout) == [
        [sample[2][0], ours.stack(sample)] for sample in ours.samples]
