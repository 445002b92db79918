#!/usr/bin/env python3
"""Starts, stops and reloads of a real daemon."""
import os
import signal
import socket
import subprocess

import daemon
from daemon import until


def sigterm_lets_running_jobs_end_and_answers_their_waiters(d):
    d.start()
    with d.client() as c:
        rep = c.call("submit", {"jobs": [{"timer": {"every": "300ms"}}]})
        until(lambda: d.call("get", {"job": 1})["state"] == "running", "running")
        c.send("wait", {"batch": rep["batch"], "jobs": True, "timeout": "20s"})
        assert d.stop() == 0
        assert c.receive()["jobs"][0]["state"] == "succeeded"
    assert "stopping" in d.log() and d.log().rstrip().endswith("stopped")


def what_does_not_end_in_time_is_queued_again(d):
    d.configure("drain_timeout: 50ms")
    d.start()
    with d.client() as c:
        c.call("submit", {"jobs": [{"timer": {"every": "1h"}}]})
        until(lambda: c.call("get", {"job": 1})["state"] == "running", "running")
    assert d.stop() == 0
    d.start()
    with d.client() as c:
        until(lambda: c.call("get", {"job": 1})["attempt"] == 2, "the second attempt")
        job = c.call("get", {"job": 1, "history": True})
        assert job["history"][0]["error"]["code"] == "interrupted", job
        assert c.call("ping", {})["epoch"] == 2


def a_second_sigterm_does_not_wait(d):
    d.configure("drain_timeout: 1h")
    d.start()
    with d.client() as c:
        c.call("submit", {"jobs": [{"timer": {"every": "1h"}}]})
        until(lambda: c.call("get", {"job": 1})["state"] == "running", "running")
    d.process.send_signal(signal.SIGTERM)
    until(lambda: "stopping" in d.log(), "stopping")
    assert d.stop() == 0


def while_it_stops_nothing_new_is_taken(d):
    d.configure("drain_timeout: 1h")
    d.start()
    with d.client() as c:
        c.call("submit", {"jobs": [{"timer": {"every": "1h"}}]})
        until(lambda: c.call("get", {"job": 1})["state"] == "running", "running")
        d.process.send_signal(signal.SIGTERM)
        until(lambda: c.call("stats", {})["state"] == "draining", "draining")
        assert c.refused("submit", {"jobs": [{"sum": {"numbers": [1]}}]})[0] == "unavailable"
        c.call("cancel", {"select": {"jobs": [1]}})
        assert d.process.wait(daemon.LIMIT) == 0


def a_second_daemon_on_the_same_store_says_so(d):
    d.start()
    other = d.config + ".other"
    with open(d.config) as f, open(other, "w") as g:
        g.write(f.read().replace("/s.sock", "/t.sock").replace("/e.sock", "/f.sock"))
    got = subprocess.run([d.gojobd, "--config", other], capture_output=True, text=True,
                         timeout=daemon.LIMIT)
    assert got.returncode == 1 and str(d.process.pid) in got.stderr, got
    assert d.call("ping", {})["epoch"] == 1


def a_wrong_configuration_exits_78_and_names_the_line(d):
    d.configure("limts: {}")
    for extra in ([], ["--check-config"]):
        got = subprocess.run([d.gojobd, "--config", d.config, *extra], capture_output=True,
                             text=True, timeout=daemon.LIMIT)
        assert got.returncode == 78, got
        assert f"{d.config}:5:1:" in got.stderr and "limits" in got.stderr, got.stderr


def sighup_reads_the_configuration_again(d):
    d.start()
    with d.client() as c:
        assert c.refused("submit", {"jobs": [{"sum": {"numbers": [1]}, "retries": 101}]})
        d.configure("limits: {retries: 200}")
        d.process.send_signal(signal.SIGHUP)
        until(lambda: "read again" in d.log(), "the reload")
        c.run({"sum": {"numbers": [1]}, "retries": 101})
        d.configure("limits: {retries: no}")
        d.process.send_signal(signal.SIGHUP)
        until(lambda: "stays as it was" in d.log(), "the refused reload")
        c.run({"sum": {"numbers": [1]}, "retries": 101})


def systemd_is_told_of_every_step(d):
    path = f"{d.dir}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(daemon.LIMIT)
        p = subprocess.Popen([d.gojobd, "--config", d.config],
                             env={**os.environ, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"})
        d.process = p

        def told(what):
            while True:
                text = s.recv(4096).decode()
                if what in text:
                    return text

        told("READY=1")
        told("WATCHDOG=1")
        p.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in told("RELOADING=1")
        told("READY=1")
        p.send_signal(signal.SIGTERM)
        told("STOPPING=1")
        assert p.wait(daemon.LIMIT) == 0


def a_waiting_client_gets_its_answer_from_the_next_daemon(d):
    d.start()
    with d.client() as c:
        rep = c.call("submit", {"jobs": [{"timer": {"every": "500ms"}}] * 3})
        c.send("wait", {"batch": rep["batch"], "timeout": "20s"})
        d.kill()
        d.start()
        assert c.receive()["done"]
        jobs = c.wait(rep["batch"])
        assert [j["state"] for j in jobs.values()] == ["succeeded"] * 3


if __name__ == "__main__":
    daemon.main(daemon.sentences(globals()))
