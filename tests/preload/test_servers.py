# SPDX-License-Identifier: MIT
"""Servers under the preload: redis, nginx and PostgreSQL serve, are right, and end well.

Each has a directory and a port of its own, on the loopback only.
"""

import glob
import hashlib
import os
import pathlib
import re
import shutil
import signal
import socket
import threading
import urllib.error
import urllib.request

import pytest

from harness import Background, paths, run, wait_for

NOBODY = 65534
# Threads on stacks of libstackalloc.
ON_STACKS = dict(preload=paths.library("libstackalloc_preload.so.1"),
                 env={"STACKALLOC_OPTIONS": "size=256k"})
# What the library, or the loader about it, would say.
MESSAGE = re.compile(r"\bumem( allocator)?: |ld\.so")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def need(*names):
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


def wait_for_port(port, process):
    def open_now():
        assert process.process.poll() is None, (process.lines, process.errors)
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            return False
    wait_for(open_now, 60, f"server on port {port}")


# --- redis ---

REDIS_BENCHMARKS = "ping_inline,set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset"


def redis_commands(count):
    """Commands on every type of value, sizes from small to large."""
    for i in range(count):
        yield f"SET key:{i} {'v' * (i % 700)}x"
        yield f"APPEND key:{i // 2} {'w' * (i % 100)}"
        yield f"RPUSH list:{i % 50} {'item' * (i % 30)}{i}"
        yield f"HSET hash:{i % 40} field{i} {i * i}"
        yield f"ZADD zset:{i % 10} {i % 97} member{i}"
        yield f"SADD set:{i % 20} {i * 7919}"
        if i % 3 == 0:
            yield f"DEL key:{i // 3}"
        if i % 5 == 0:
            yield f"LPOP list:{i % 50}"


def redis_session(directory, requests, count, **how):
    """Runs a server and its clients under `how`; (digest of the data, exit code, errors)."""
    directory.mkdir()
    port = free_port()
    server = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", directory,
              "--save", "", "--logfile", directory / "log", "--enable-debug-command", "yes"]
    cli = ["redis-cli", "-p", port]
    with Background(server, cwd=directory, **how) as redis:
        wait_for_port(port, redis)
        bench = run(["redis-benchmark", "-p", port, "-q", "-n", requests, "-c", 20, "-d", 100,
                     "-r", 1000, "-t", REDIS_BENCHMARKS], timeout=600, **how)
        assert bench.returncode == 0 and bench.stderr == "", bench
        assert bench.stdout.count("requests per second") >= 11, bench
        assert run([*cli, "FLUSHALL"], **how).stdout == "OK\n"
        piped = run(cli, stdin="\n".join(redis_commands(count)) + "\n", timeout=300, **how)
        assert piped.returncode == 0 and piped.stderr == "", piped
        # A fork that writes everything, while the data changes.
        assert "started" in run([*cli, "BGSAVE"], **how).stdout
        run([*cli, "DEL", "list:1"], **how)
        wait_for(lambda: "rdb_bgsave_in_progress:0" in run([*cli, "INFO", "persistence"]).stdout,
                 60, "end of BGSAVE")
        assert "rdb_last_bgsave_status:ok" in run([*cli, "INFO", "persistence"]).stdout
        digest = run([*cli, "DEBUG", "DIGEST"], **how).stdout
        run([*cli, "MEMORY", "PURGE"], **how)
        run([*cli, "SHUTDOWN", "NOSAVE"], **how)
        code = redis.wait()
    log = (directory / "log").read_text()
    assert not MESSAGE.search(log) and "crash" not in log.lower(), log
    return digest, code, redis.errors, redis.lines


def check_redis(tmp_path, mode, requests, count):
    need("redis-server", "redis-benchmark", "redis-cli")
    plain = redis_session(tmp_path / "plain", 200, count)
    assert plain[1] == 0 and len(plain[0].strip()) == 40, plain
    assert redis_session(tmp_path / "with", requests, count, **mode) == plain


def test_redis(tmp_path, mode):
    check_redis(tmp_path, mode, 3000, 2000)


@pytest.mark.programs
def test_redis_full(tmp_path, mode):
    check_redis(tmp_path, mode, 50000, 10000)


def test_redis_on_stacks(tmp_path):
    check_redis(tmp_path, ON_STACKS, 1000, 500)


# --- nginx ---

NGINX_CONFIG = """
daemon off;
worker_processes 2;
{user}
pid {dir}/pid;
error_log {dir}/error.log notice;
events {{ worker_connections 256; }}
http {{
    access_log {dir}/access.log;
    {more}
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    gzip on; gzip_types *; gzip_min_length 100;
    server {{
        listen 127.0.0.1:{port};
        root {dir}/root;
        location /gone {{ return 301 /0; }}
    }}
}}
"""


def fetch_all(port, files, rounds, failures):
    for number in range(rounds):
        for name, digest in files.items():
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{name}")
            with urllib.request.urlopen(request, timeout=60) as answer:
                if hashlib.sha256(answer.read()).hexdigest() != digest:
                    failures.append(name)
        if number % 5 == 0:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/absent{number}", timeout=60)
                failures.append("no 404")
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    failures.append(str(error.code))


def fetch_in_threads(port, files, rounds):
    failures = []
    threads = [threading.Thread(target=fetch_all, args=(port, files, rounds, failures))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
    return failures


def check_nginx(directory, mode, rounds, more=""):
    need("nginx")
    root = directory / "root"
    root.mkdir()
    files = {}
    for number in range(12):
        content = (f"file {number} " * (3 ** number // 3)).encode()[:2000000]
        (root / str(number)).write_bytes(content)
        files[str(number)] = hashlib.sha256(content).hexdigest()
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(NGINX_CONFIG.format(dir=directory, port=port, user=user,
                                                             more=more))
    server = ["nginx", "-p", directory, "-c", directory / "nginx.conf", "-e",
              directory / "error.log"]
    with Background(server, cwd=directory, **mode) as nginx:
        wait_for_port(port, nginx)
        assert fetch_in_threads(port, files, rounds) == []
        # New workers take over, the old ones end.
        nginx.process.send_signal(signal.SIGHUP)
        assert fetch_in_threads(port, files, rounds) == []
        nginx.process.send_signal(signal.SIGQUIT)
        code = nginx.wait()
    log = (directory / "error.log").read_text()
    assert (code, nginx.errors, nginx.lines) == (0, [], []), log
    complaints = r"|\[(warn|error|crit|alert|emerg)\]|exited with code [^0]|on signal"
    assert not re.search(MESSAGE.pattern + complaints,
                         re.sub(r".*No such file.*\n", "", log)), log


def test_nginx(tmp_path, mode):
    check_nginx(tmp_path, mode, 10)


@pytest.mark.programs
def test_nginx_full(tmp_path, mode):
    check_nginx(tmp_path, mode, 200)


def test_nginx_with_threads_on_stacks(tmp_path):
    need("nginx")
    if "--with-threads" not in run(["nginx", "-V"]).stderr:
        pytest.skip("nginx is built without threads")
    check_nginx(tmp_path, ON_STACKS, 10, "aio threads; directio 512;")


# --- PostgreSQL ---

def postgres_tool(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    path = found[-1] if found else shutil.which(name)
    if path is None:
        pytest.skip(f"PostgreSQL's {name} is not installed")
    return path


class Postgres:
    """A cluster in a directory of its own, reached by a socket there; never as root."""

    def __init__(self, programs, mode, name):
        self.directory = programs.directory / f"postgres-{name}"
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        self.how = {**mode, "timeout": 600}
        more = self.how.pop("env", {})
        if mode.get("preload") is True:
            self.how["preload"] = programs.library()
        elif mode.get("preload"):
            # What it needs is looked for where it lies.
            programs.library("libumem_core.so.1")
            programs.library("libstackalloc.so.1")
            self.how["preload"] = programs.library("libstackalloc_preload.so.1")
        if os.geteuid() == 0:
            os.chown(self.directory, NOBODY, NOBODY)
            self.how["user"] = NOBODY
        self.env = {**more, "PGHOST": self.directory, "PGDATA": self.directory / "data",
                    "PGUSER": "tester", "PGDATABASE": "postgres", "HOME": self.directory,
                    "LC_ALL": "C", "TZ": "UTC"}

    def tool(self, name, *arguments, stdin=None):
        result = run([postgres_tool(name), *arguments], env=self.env, cwd=self.directory,
                     stdin=stdin, **self.how)
        assert result.returncode == 0, result
        return result

    def start(self):
        # The server's own output goes to the log, so that pg_ctl's pipes are closed.
        self.tool("pg_ctl", "start", "-w", "-s", "-l", self.directory / "log", "-o",
                  f"-c listen_addresses='' -k {self.directory}")

    def stop(self):
        self.tool("pg_ctl", "stop", "-w", "-s", "-m", "fast")

    def log(self):
        return (self.directory / "log").read_text()


QUERIES = """
CREATE TABLE t AS SELECT i AS id, md5(i::text) AS name, i % 97 AS grp
FROM generate_series(1, 20000) i;
CREATE INDEX ON t(name);
ANALYZE t;
SELECT grp, count(*), min(name) FROM t GROUP BY grp ORDER BY grp LIMIT 5;
SELECT count(*) FROM t a JOIN t b ON a.grp = b.grp AND a.id < b.id WHERE a.id % 20 = 0;
SELECT string_agg(name, ',' ORDER BY name) FROM (SELECT name FROM t ORDER BY name LIMIT 3) s;
SELECT jsonb_object_agg(id, name) -> '7' FROM t WHERE id < 500;
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5000) SELECT sum(n) FROM r;
SELECT length(repeat('x', 10000000));
SELECT 1 / 0;
"""
# TPC-B's invariant: what was added to accounts, tellers and branches is the same.
INVARIANT = ("SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM "
             "pgbench_branches) AND (SELECT sum(abalance) FROM pgbench_accounts) = "
             "(SELECT sum(tbalance) FROM pgbench_tellers), (SELECT count(*) FROM pgbench_history)")


def postgres_session(programs, mode, name, transactions):
    """(what initdb said, what the queries gave) after a run of pgbench."""
    server = Postgres(programs, mode, name)
    made = server.tool("initdb", "-U", "tester", "-A", "trust", "-N", "--no-instructions",
                       "--locale=C", "-E", "UTF8")
    server.start()
    try:
        answers = server.tool("psql", "-X", "-A", "-t", stdin=QUERIES)
        bench = server.tool("pgbench", "-i", "-q", "-s", "1")
        assert "done in" in bench.stderr and not MESSAGE.search(bench.stderr), bench
        bench = server.tool("pgbench", "-n", "-c", "4", "-j", "2", "-t", str(transactions))
        assert f"{transactions * 4}/{transactions * 4}" in bench.stdout, bench
        assert not MESSAGE.search(bench.stderr), bench
        invariant = server.tool("psql", "-X", "-A", "-t", "-c", INVARIANT)
        assert invariant.stdout == f"t|{transactions * 4}\n", invariant
    finally:
        server.stop()
    log = server.log()
    assert not MESSAGE.search(log), log
    assert "terminated by signal" not in log and "PANIC" not in log, log
    initdb = (made.stdout + made.stderr).replace(str(server.directory), "DIR")
    return initdb, answers.stdout, answers.stderr


def check_postgres(programs, mode, transactions):
    for tool in ("initdb", "pg_ctl", "psql", "pgbench"):
        postgres_tool(tool)
    plain = postgres_session(programs, {}, "plain", 10)
    assert "division by zero" in plain[2] and "12502500" in plain[1], plain
    assert postgres_session(programs, mode, "with", transactions) == plain


def test_postgres(programs, mode):
    check_postgres(programs, mode, 100)


def test_postgres_on_stacks(programs):
    check_postgres(programs, ON_STACKS, 50)


@pytest.mark.programs
def test_postgres_full(programs, mode):
    check_postgres(programs, mode, 5000)
