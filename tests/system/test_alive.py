#!/usr/bin/env python3
"""The daemon answers while its jobs wait for servers that do not, or keep the machine busy."""
import http.server
import os
import sqlite3
import subprocess
import sys
import threading
import time

import daemon
from daemon import until

BOUND = 1.0  # seconds; on a quiet machine it is milliseconds
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
HUNG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hung_net.py")


def _apart():
    """The words that put a command into namespaces of its own."""
    words = ["unshare", "--mount", "--net"]
    if os.geteuid() != 0:
        words.append("--map-root-user")
    got = subprocess.run([*words, "true"], capture_output=True, text=True, timeout=daemon.LIMIT)
    if got.returncode != 0:
        raise daemon.Skip(got.stderr.strip())
    return [*words, sys.executable, HUNG]


def _database(d):
    sqlite3.connect(f"{d.dir}/stock.db").close()
    return f"databases: {{stock: {{url: 'sqlite:{d.dir}/stock.db'}}}}\n"


def _sparse(d):
    path = f"{d.dir}/files/huge"
    with open(path, "wb") as f:
        f.truncate(1 << 30)
    return path


def _kinds_running(c):
    return {j["kind"] for j in c.call("list", {"select": {"states": ["running"]}}).get("jobs", [])}


def every_ping_is_answered_while_jobs_hang_and_work(d):
    d.configure("fetch: {allow: [127.0.0.0/8]}\n" + _database(d))
    huge = _sparse(d)
    d.start(_apart())
    jobs = [{"fetch": {"url": "http://never.example/"}}] * 20 + \
        [{"fetch": {"url": "http://127.0.0.1:8000/"}}] * 20 + \
        [{"sql": {"db": "stock", "query": ENDLESS}}] + \
        [{"read": {"path": huge}}, {"sum": {"file": huge, "format": "int64"}}] * 20
    with d.client() as c, d.client() as busy:
        rep = busy.call("submit", {"jobs": jobs})
        until(lambda: _kinds_running(busy) == {"fetch", "sql", "read", "sum"}, "every kind")
        slowest = 0
        for _ in range(200):
            start = time.monotonic()
            c.call("ping", {})
            slowest = max(slowest, time.monotonic() - start)
        assert slowest < BOUND, f"a ping took {slowest:.3f} s"
        assert _kinds_running(busy) >= {"fetch", "sql"}
        start = time.monotonic()
        busy.call("batch_cancel", {"batch": rep["batch"]})
        ends = busy.wait(rep["batch"])
        took = time.monotonic() - start
        assert all(j["state"] in ("cancelled", "succeeded") for j in ends.values())
        assert took < 10, f"cancelling took {took:.3f} s"
        print(f"# slowest ping {slowest * 1000:.1f} ms, cancelled in {took * 1000:.0f} ms")


def a_timeout_ends_a_wait_for_a_name(d):
    d.configure("fetch: {connect_timeout: 1h}")
    d.start(_apart())
    with d.client() as c:
        (job,) = c.run({"fetch": {"url": "http://never.example/"}, "timeout": "100ms"})
        assert job["state"] == "failed" and job["error"]["code"] == "timeout", job
    assert d.stop() == 0


def stopping_does_not_wait_for_a_server_that_hangs(d):
    d.configure("drain_timeout: 50ms\nfetch: {allow: [127.0.0.0/8]}\n" + _database(d))
    d.start(_apart())
    with d.client() as c:
        c.call("submit", {"jobs": [{"fetch": {"url": "http://never.example/"}},
                                   {"fetch": {"url": "http://127.0.0.1:8000/"}},
                                   {"sql": {"db": "stock", "query": ENDLESS}}]})
        until(lambda: c.call("stats", {})["counts"]["running"] == 3, "three jobs")
    start = time.monotonic()
    assert d.stop() == 0
    assert time.monotonic() - start < 15


class _Drip(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        try:
            while not self.server.over.wait(0.02):
                self.wfile.write(b".")
        except OSError:
            pass

    def log_message(self, *_):
        pass


def a_body_that_drips_in_ends_at_the_timeout_and_at_a_cancel(d):
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Drip)
    site.daemon_threads, site.over = True, threading.Event()
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        d.configure("fetch: {allow: [127.0.0.0/8]}")
        d.start()
        fetch = {"fetch": {"url": f"http://127.0.0.1:{site.server_port}/"}}
        with d.client() as c:
            (job,) = c.run({**fetch, "timeout": "200ms"})
            assert job["state"] == "failed" and job["error"]["code"] == "timeout", job
            rep = c.call("submit", {"jobs": [fetch]})
            until(lambda: c.call("stats", {})["counts"]["running"] == 1, "the fetch")
            c.call("cancel", {"select": {"jobs": rep["ids"]}})
            (job,) = c.wait(rep["batch"]).values()
            assert job["state"] == "cancelled", job
    finally:
        site.over.set()
        site.shutdown()
        site.server_close()


if __name__ == "__main__":
    daemon.main(daemon.sentences(globals()))
