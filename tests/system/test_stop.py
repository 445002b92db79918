#!/usr/bin/env python3
"""Starts, stops and reloads of a real daemon."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess

import daemon
from daemon import until


def sigterm_lets_running_jobs_end_and_answers_their_waiters(d):
    d.start()
    with d.client() as c:
        rep = c.call("submit", {"jobs": [{"timer": {"every": "1500ms"}}]})
        until(lambda: c.call("get", {"job": 1})["state"] == "running", "running")
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


def json_logs_are_an_object_a_line_whatever_the_names_hold(d):
    odd = '/proc/no "such"\\place\t\u00e9\u0001'
    with open(d.config, "w") as f:
        f.write(f"state_dir: {json.dumps(odd)}\nlisten: ['{d.url}']\n")
    for extra in (["--log-format=json"], ["--log-format", "json", "--log-level", "debug"]):
        code, err = d.refuses_to_start(*extra)
        assert code == 1, err
        lines = [json.loads(line) for line in err.splitlines()]
        assert lines and all(set(x) == {"time", "level", "message"} for x in lines), lines
        assert lines[-1]["level"] == "error" and odd in lines[-1]["message"], lines
    d.configure("log: {format: json}")
    d.start()
    d.ctl("submit", "sum", "1", "--name", odd[:20], "--wait")
    d.stop()
    lines = [json.loads(line) for line in d.log().splitlines()]
    assert lines[-1]["message"] == "stopped" and lines[-1]["level"] == "info", lines


def the_journal_gets_priorities_instead_of_times(d):
    d.configure("drain_timeout: 10ms")
    with open(d.log_path, "wb") as log:
        st = os.fstat(log.fileno())
        d.process = subprocess.Popen(
            [d.gojobd, "--config", d.config], stderr=log,
            env={**os.environ, "JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino}"})
    until(lambda: "is ready" in d.log(), "ready")
    d.process.send_signal(signal.SIGHUP)
    until(lambda: "read again" in d.log(), "the reload")
    d.configure("nonsense: 1")
    d.process.send_signal(signal.SIGHUP)
    until(lambda: "stays as it was" in d.log(), "the refused reload")
    assert d.stop() == 0
    lines = d.log().splitlines()
    assert all(re.match(r"<[3-7]>\S", line) for line in lines), lines
    assert "<5>the configuration has been read again" in lines, lines
    refused = next(line for line in lines if "stays as it was" in line)
    assert refused.startswith("<3>") and f"{d.config}:5:1: " in refused, refused


def a_hung_scheduler_does_not_pet_the_watchdog(d):
    """gdb takes the scheduler's lock and never gives it back; other threads go on."""
    if shutil.which("gdb") is None:
        raise daemon.Skip("gdb is not installed")
    path = f"{d.dir}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(daemon.LIMIT)
        d.process = subprocess.Popen([d.gojobd, "--config", d.config], env={
            **os.environ, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        seen = set()
        while not seen >= {"WATCHDOG=1", "READY=1", "STATUS=serving, 0 jobs running"}:
            seen |= set(s.recv(4096).decode().split("\n"))
        got = subprocess.run(["gdb", "-p", str(d.process.pid), "-batch", "-ex",
                              "set var sched.lock.word = 1"],
                             capture_output=True, text=True, timeout=daemon.LIMIT)
        if "ptrace" in got.stderr or "No symbol" in got.stderr:
            raise daemon.Skip(got.stderr.strip().splitlines()[-1])
        s.settimeout(1)  # it would have been petted ten times
        silent, messages = False, 0
        while not silent and messages < 20:  # some were sent before
            try:
                s.recv(4096)
                messages += 1
            except TimeoutError:
                silent = True
        assert silent and d.process.poll() is None
        d.kill()


if __name__ == "__main__":
    daemon.main(daemon.sentences(globals()))
