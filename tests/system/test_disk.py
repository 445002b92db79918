#!/usr/bin/env python3
"""Disks that fill up or may not be written, and files that are not the daemon's."""
import contextlib
import http.server
import os
import signal
import sqlite3
import subprocess
import threading

import daemon
from daemon import until

DB = "gojobd.db"
SUM = {"sum": {"numbers": [2, 3]}}


@contextlib.contextmanager
def _small_disk(d, size):
    """A file system of its own at d.state."""
    os.mkdir(d.state)
    if os.geteuid() != 0:
        raise daemon.Skip("only root mounts")
    got = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", d.state],
                         capture_output=True, text=True, timeout=daemon.LIMIT)
    if got.returncode != 0:
        raise daemon.Skip(got.stderr.strip())
    try:
        yield
    finally:
        if d.process and d.process.poll() is None:
            d.kill()
        subprocess.run(["umount", d.state], check=True, timeout=daemon.LIMIT)


def _counts(c):
    return c.call("stats", {})["counts"]


def a_full_disk_refuses_and_loses_nothing(d):
    with _small_disk(d, "12m"):
        d.configure("limits: {disk_free: 0}\nstore: {wal: 1MiB}")
        d.start()
        acked = {}
        job = {"timer": {"every": "1h"}, "name": "x" * 200}
        with d.client() as c:
            c.call("queue_pause", {"name": "default"})
            said = None
            while said is None:
                try:
                    rep = c.call("submit", {"jobs": [job] * 500})
                    acked[rep["batch"]] = rep["ids"]
                except daemon.Refused as e:
                    assert e.code == "storage", e
                    said = str(e)
            assert "full" in said, said
            assert acked, "not even the first message fitted"
            total = sum(len(ids) for ids in acked.values())
            assert _counts(c)["total"] == total
            assert c.call("ping", {})["epoch"] == 1
            assert c.refused("submit", {"jobs": [job] * 500})[0] == "storage"
            assert said in d.log(), d.log()

            subprocess.run(["mount", "-o", "remount,size=64m", d.state], check=True)
            rep = c.call("submit", {"jobs": [job] * 500})
            acked[rep["batch"]] = rep["ids"]
        d.kill()
        d.start()
        with d.client() as c:
            assert c.call("check", {})["ok"]
            for batch, ids in acked.items():
                got = c.call("list", {"select": {"batch": batch}, "limit": 1000})["jobs"]
                assert sorted(j["id"] for j in got) == sorted(ids), batch
        assert d.stop() == 0


def small_sums_on_a_full_disk_happen_whole_or_not_at_all(d):
    """Such a job's end is in the commit of its submission."""
    with _small_disk(d, "32m"):
        d.configure("limits: {disk_free: 0}\nstore: {wal: 1MiB}")
        d.start()
        with d.client() as c:
            ballast = os.open(f"{d.state}/ballast", os.O_WRONLY | os.O_CREAT)
            with contextlib.suppress(OSError):
                while True:
                    os.write(ballast, b"x" * 4096)
            os.close(ballast)
            acked, refused = [], 0
            while refused < 5:
                try:
                    acked += c.call("submit", {"jobs": [SUM] * 3})["ids"]
                except daemon.Refused as e:
                    assert e.code == "storage", e
                    refused += 1
            os.unlink(f"{d.state}/ballast")
            acked += [j["id"] for j in c.run(SUM, SUM)]
            until(lambda: _counts(c).get("succeeded") == len(acked), "the sums")
            assert _counts(c)["total"] == len(acked) == len(set(acked))
            jobs = c.call("list", {"limit": 1000, "results": True})["jobs"]
            assert sorted(j["id"] for j in jobs) == sorted(acked)
            assert c.call("check", {})["ok"]


class _Site(http.server.ThreadingHTTPServer):
    """Sends nothing before it is let go."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Page)
        self.go = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.go.wait(daemon.LIMIT)
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"x" * 100000)

    def log_message(self, *_):
        pass


def ends_that_find_no_room_are_recorded_when_there_is_some(d):
    """Jobs end while nothing can be written; no end is lost, none is recorded twice."""
    with _small_disk(d, "32m"), _Site() as site:
        d.configure("limits: {disk_free: 0}\nstore: {wal: 1MiB}\n"
                    "fetch: {allow: [127.0.0.0/8]}")
        d.start()
        with d.client() as c:
            rep = c.call("submit", {"jobs": [{"fetch": {"url": site.url, "keep_body": True}}] * 40})
            until(lambda: _counts(c)["running"] == 40, "running jobs")
            ballast = os.open(f"{d.state}/ballast", os.O_WRONLY | os.O_CREAT)
            with contextlib.suppress(OSError):
                while True:
                    os.write(ballast, b"x" * 65536)
            os.close(ballast)
            site.go.set()
            until(lambda: "when there is room" in d.log(), "the full disk")
            assert c.call("ping", {})["epoch"] == 1
            os.unlink(f"{d.state}/ballast")
            jobs = c.wait(rep["batch"])
            assert len(jobs) == 40
            assert all(j["state"] == "succeeded" and j["attempt"] == 1 for j in jobs.values())
            until(lambda: "held up any more" in d.log(), "the all-clear")
        assert d.stop() == 0
        site.shutdown()


def little_room_is_kept_for_what_is_taken_already(d):
    with _small_disk(d, "16m"):
        d.configure("limits: {disk_free: 1GiB}")
        d.start()
        until(lambda: "limits.disk_free" in d.log(), "the warning")
        with d.client() as c:
            assert c.refused("submit", {"jobs": [SUM]})[0] == "busy"
        p = d.ctl_start("submit", "sum", "2", "3", "--wait")
        assert "limits.disk_free" in p.stderr.readline()  # it waits, and says why
        p.kill()
        p.communicate()
        d.configure("limits: {disk_free: 1MiB}")
        d.process.send_signal(signal.SIGHUP)
        until(lambda: "has room again" in d.log(), "room")
        got = d.ctl("submit", "sum", "2", "3", "--wait")
        assert (got.returncode, got.stdout) == (0, "5\n"), got


def a_file_system_that_turns_read_only_is_said_and_harms_nothing(d):
    with _small_disk(d, "16m"):
        d.configure("limits: {disk_free: 1MiB}")
        d.start()
        with d.client() as c:
            c.run(SUM)
            d.stop()
        subprocess.run(["mount", "-o", "remount,ro", d.state], check=True)
        code, err = d.refuses_to_start()
        assert code == 1 and "Read-only file system" in err and d.state in err, err
        subprocess.run(["mount", "-o", "remount,rw", d.state], check=True)
        d.start()
        with d.client() as c:
            assert _counts(c)["succeeded"] == 1
            c.run(SUM)


def a_state_dir_that_may_not_be_written_is_named(d):
    os.mkdir(d.state, 0o500)
    before = []
    if os.geteuid() == 0:
        before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        for path in (d.dir, d.state, d.config):
            os.chown(path, 65534, 65534)
    got = subprocess.run([*before, d.gojobd, "--config", d.config], text=True,
                         capture_output=True, timeout=daemon.LIMIT)
    assert got.returncode == 1 and f"{d.state}/{DB}" in got.stderr, got
    assert "Permission denied" in got.stderr, got
    os.rmdir(d.state)
    open(d.state, "w").close()
    code, err = d.refuses_to_start()
    assert code == 1 and d.state in err and "Not a directory" in err, err


def foreign_and_damaged_files_are_left_alone(d):
    path = f"{d.state}/{DB}"
    os.mkdir(d.state)
    for content, what in ((b"not a database at all" * 500, "is not a gojobd database"),
                          (b"SQLite format 3\0" + b"\xff" * 4080, "is not a gojobd database")):
        with open(path, "wb") as f:
            f.write(content)
        code, err = d.refuses_to_start()
        assert code == 1 and f"{path} {what}" in err, err
        with open(path, "rb") as f:
            assert f.read() == content
        os.unlink(path)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.commit()
    db.close()
    code, err = d.refuses_to_start()
    assert code == 1 and "is the database of another application" in err, err
    os.unlink(path)
    d.start()
    d.call("submit", {"jobs": [SUM] * 100})
    d.stop()
    with open(path, "r+b") as f:
        f.seek(100)
        f.write(b"\xff" * 4000)
    code, err = d.refuses_to_start()
    assert code == 1 and "is damaged; restore a backup" in err, err


def a_newer_daemons_file_is_left_alone(d):
    d.start()
    d.stop()
    db = sqlite3.connect(f"{d.state}/{DB}")
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    code, err = d.refuses_to_start()
    assert code == 1 and "written by a newer gojobd (schema 99" in err, err


if __name__ == "__main__":
    daemon.main(daemon.sentences(globals()))
