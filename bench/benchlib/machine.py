# SPDX-License-Identifier: MIT
"""What a run was made on: processor, memory, system, versions of the peers."""

import os
import pathlib
import platform
import shutil
import subprocess

from benchlib.runner import PEERS

PACKAGES = {"jemalloc": "libjemalloc2", "mimalloc": "libmimalloc2.0",
            "tcmalloc": "libtcmalloc-minimal4"}


def first_value(path, key):
    try:
        for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
            name, _, value = line.replace("=", ":", 1).partition(":")
            if name.strip() == key:
                return value.strip().strip('"')
    except OSError:
        pass
    return "?"


def package_version(package):
    """As the distribution has it, without its own suffixes; "?" elsewhere."""
    if not shutil.which("dpkg-query"):
        return "?"
    done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True,
                          text=True, check=False)
    return done.stdout.split("-")[0].split("+")[0] or "?"


def describe():
    memory = int(first_value("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    peers = ", ".join(f"{name} {package_version(PACKAGES[name])}" for name in PEERS)
    return {
        "processors": f"{os.cpu_count()} × {first_value('/proc/cpuinfo', 'model name')}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{first_value('/etc/os-release', 'PRETTY_NAME')}, "
                  f"Linux {platform.release().split('-')[0]}, {platform.machine()}",
        "libraries": f"{' '.join(platform.libc_ver())}, {peers}",
    }


def markdown(machine):
    """One paragraph."""
    return (f"{machine['processors']}, {machine['memory']}; {machine['system']};\n"
            f"{machine['libraries']}.")
