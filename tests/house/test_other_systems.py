# SPDX-License-Identifier: MIT
"""Other processors and another libc: the libraries build there without a warning, and work.

i386 and musl run here as they are, aarch64 in qemu-user, whose fork() from threads does not."""

import platform
import shutil
import subprocess

import pytest

from harness import paths


KERNEL_HEADERS = ("linux", "asm-generic")
STORMS = (["mix", "2"], ["lives", "20"])
FORKS = (["fork", "20"], ["threads", "10"])
MODES = ("", "audit=64,guards", "default,verify", "sample=10,firewall=4096")

# Compiler, what goes before its programs, processor in meson's words and the runs that work.
SYSTEMS = {
    "i386": (["gcc", "-m32"], [], ("x86", "i686"), STORMS + FORKS),
    "musl": (["musl-gcc"], [], ("x86_64", "x86_64"), STORMS + FORKS),
    "aarch64": (["aarch64-linux-gnu-gcc-12"], ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
                ("aarch64", "aarch64"), STORMS),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the compilers are x86-64's"),
]


def kernel_headers(folder):
    """The kernel's headers without libc's, behind all others: musl and -m32 have none."""
    for name in KERNEL_HEADERS:
        (folder / name).symlink_to(f"/usr/include/{name}")
    (folder / "asm").symlink_to("/usr/include/x86_64-linux-gnu/asm")
    return ["-idirafter", str(folder)]


def cross_file(path, compiler, wrapper, processor):
    family, cpu = processor
    path.write_text(f"[binaries]\nc = {compiler}\nar = 'ar'\nstrip = 'strip'\n"
                    f"pkg-config = 'false'\nexe_wrapper = {wrapper or ['env']}\n"
                    f"[host_machine]\nsystem = 'linux'\nendian = 'little'\n"
                    f"cpu_family = '{family}'\ncpu = '{cpu}'\n")
    return path


def call(command, seconds=300, env=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=seconds, env=env, errors="replace")
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request, tmp_path_factory):
    compiler, wrapper, processor, runs = SYSTEMS[request.param]
    for program in compiler[:1] + wrapper[:1]:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: scripts/deps systems")
    folder = tmp_path_factory.mktemp(request.param)
    if request.param != "aarch64":
        (folder / "headers").mkdir()
        compiler = compiler + kernel_headers(folder / "headers")
    cross = cross_file(folder / "cross.ini", compiler, wrapper, processor)
    call(["meson", "setup", folder / "build", paths.REPO, "--cross-file", cross,
          "-Dcore_only=true", "-Dwerror=true"])
    call(["ninja", "-C", folder / "build"], 1200)
    return compiler, wrapper, runs, folder


@pytest.mark.parametrize("mode", MODES)
def test_object_caches(system, mode):
    _, wrapper, runs, folder = system
    for run in runs:
        set_up = ["env", f"UMEM_DEBUG={mode}"]
        said = call(set_up + wrapper + [folder / "build/tests/stress/stress_core"] + run)
        assert said.startswith("core: ")


@pytest.mark.parametrize("mode", MODES)
def test_preloaded_malloc(system, mode):
    compiler, wrapper, runs, folder = system
    program = folder / "stress_malloc"
    stress = paths.REPO / "tests/stress"
    if not program.exists():
        call(compiler + ["-O2", "-pthread", "-D_GNU_SOURCE", "-o", program]
             + [stress / f"{name}.c" for name in ("stress", "storms", "crowd", "stress_malloc")])
    library = folder / "build/src/umem/libumem.so.1"
    for run in runs:
        if wrapper:  # the program is to have it, not qemu; a comma would part two variables there
            set_up = ["env", f"UMEM_DEBUG={mode}"] + wrapper + ["-E", f"LD_PRELOAD={library}"]
        else:
            set_up = ["env", f"UMEM_DEBUG={mode}", f"LD_PRELOAD={library}"]
        assert call(set_up + [program] + run).startswith("malloc: ")


STACK_SOURCES = ("stack_thread", "stack_list", "stack_pthread", "stack_depth")


@pytest.mark.parametrize("example", STACK_SOURCES)
def test_stacks(system, example):
    compiler, wrapper, _, folder = system
    library = folder / "libstackalloc.so.1"
    engine = folder / "build/src/umem"
    sources = [path for path in sorted((paths.REPO / "src/stackalloc").glob("*.c"))
               if path.name != "preload.c"]
    common = compiler + ["-O2", "-pthread", "-D_GNU_SOURCE", f"-I{paths.REPO}/include"]
    if not library.exists():
        call(common + ["-shared", "-fPIC", "-fvisibility=hidden", "-fexceptions",
                       "-fasynchronous-unwind-tables", f"-I{paths.REPO}/src/shared"]
             + sources + ["-o", library, f"-L{engine}", "-lumem_core",
                          f"-Wl,-rpath,{engine}", "-Wl,-soname,libstackalloc.so.1",
                          "-Wl,-z,nodelete",
                          f"-Wl,--version-script={paths.REPO}/src/stackalloc/libstackalloc.map"])
    program = folder / example
    call(common + [paths.REPO / f"examples/{example}.c", "-o", program, library,
                   f"-L{engine}", "-lumem_core", f"-Wl,-rpath,{folder}:{engine}"])
    call(wrapper + [program])
