#!/usr/bin/env python3
"""usage: test_goctl.py GOJOBD GOCTL: drives the real goctl against a real daemon; prints TAP."""

import http.server
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

GOJOBD, GOCTL = map(os.path.abspath, sys.argv[1:3])
PATIENCE = 60  # seconds; for hangs only
results = []


def case(function):
    """Runs a test at its definition; its name is the sentence."""
    name = function.__name__.replace("_", " ")
    try:
        function()
        problem = None
    except Exception as e:  # every failure is a result
        problem = f"{type(e).__name__}: {e}"
    results.append(problem is None)
    print(f"{'ok' if problem is None else 'not ok'} {len(results)} - {name}", flush=True)
    if problem:
        for line in problem.splitlines()[:20]:
            print(f"# {line}")


def equal(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")


def match(pattern, text):
    if not re.search(pattern, text):
        raise AssertionError(f"{text!r} does not match {pattern!r}")


class Daemon:
    def __init__(self, folder):
        self.folder = folder
        self.url = f"ipc://{folder}/gojobd.sock"
        self.config = os.path.join(folder, "gojobd.yaml")
        os.mkdir(os.path.join(folder, "state"))
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(f"""
state_dir: {folder}/state
listen: ['{self.url}']
events: ['ipc://{folder}/events.sock']
drain_timeout: 100ms
files: {{roots: ['{folder}']}}
fetch: {{allow: [127.0.0.0/8]}}
databases: {{stock: {{url: 'sqlite:{folder}/stock.db'}}}}
""")
        self.start()

    def start(self):
        self.log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen([GOJOBD, "--config", self.config],
                                        stdout=self.log, stderr=self.log)
        end = time.monotonic() + PATIENCE
        while goctl("ping", url=self.url).returncode != 0:
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError("the daemon does not start: " + self.tail())

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        self.process.wait(PATIENCE)
        self.log.close()

    def tail(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as f:
            return f.read()[-2000:]


def environment(url):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GOJOBD")}
    if url:
        env["GOJOBD_URL"] = url
    env["TZ"] = "UTC"
    # ThreadSanitizer sleeps for a second at each exit otherwise.
    env["TSAN_OPTIONS"] = env.get("TSAN_OPTIONS", "") + ":atexit_sleep_ms=0"
    return env


def goctl(*args, url=None, stdin=None, cwd=None):
    url = url or daemon.url
    return subprocess.run([GOCTL, *args], input=stdin, text=True, capture_output=True,
                          env=environment(url), timeout=PATIENCE, cwd=cwd, check=False)


def answer(*args, code=0, **more):
    r = goctl(*args, **more)
    if r.returncode != code:
        raise AssertionError(f"exit {r.returncode}, want {code}: {r.stdout}{r.stderr}")
    return r.stdout


def complaint(*args, code, **more):
    r = goctl(*args, **more)
    if r.returncode != code:
        raise AssertionError(f"exit {r.returncode}, want {code}: {r.stdout}{r.stderr}")
    equal(r.stdout, "")
    equal(r.stderr.count("\n"), 1)
    return r.stderr


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"hello, world\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def batch_of(process):
    """The batch that `submit --json` without --wait printed."""
    return json.loads(process)["batch"]


folder = tempfile.TemporaryDirectory(prefix="goctl-")
with open(os.path.join(folder.name, "ten.txt"), "w", encoding="utf-8") as f:
    f.write("\n".join(str(i) for i in range(1, 11)) + "\n")
db = sqlite3.connect(os.path.join(folder.name, "stock.db"))
db.executescript("CREATE TABLE part (id INTEGER, name TEXT);"
                 "INSERT INTO part VALUES (1, 'bolt'), (2, 'nut');")
db.close()
site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
threading.Thread(target=site.serve_forever, daemon=True).start()
page = f"http://127.0.0.1:{site.server_address[1]}/"
daemon = Daemon(folder.name)


# --- answers ----------------------------------------------------------------------------------

@case
def a_sum_prints_its_answer_alone():
    equal(answer("submit", "sum", *map(str, range(1, 11)), "--wait"), "55\n")


@case
def wait_with_json_prints_the_documented_line():
    line = answer("submit", "sum", *map(str, range(1, 11)), "--wait", "--json")
    job = json.loads(line)
    want = (f'{{"id":{job["id"]},"batch":{job["batch"]},"kind":"sum","state":"succeeded",'
            '"attempt":1,"sum":{"count":10,"sum":55}}\n')
    equal(line, want)


@case
def negative_and_huge_and_real_numbers_are_summed():
    equal(answer("submit", "sum", "-5", "+3", "007", "-w"), "5\n")
    equal(answer("submit", "sum", "9223372036854775807", "9223372036854775807", "-w"),
          "18446744073709551614\n")
    equal(answer("submit", "sum", "0.5", ".25", "1e1", "-w"), "10.75\n")


@case
def a_file_is_summed_by_a_path_relative_to_the_callers_directory():
    equal(answer("submit", "sum", "--file", "ten.txt", "-w", cwd=folder.name), "55\n")


@case
def a_fetch_tells_status_bytes_and_type():
    match(r"^200 13 bytes text/plain [0-9.]+(us|ms|s)\n$", answer("submit", "fetch", page, "-w"))


@case
def a_kept_body_is_the_answer():
    equal(answer("submit", "fetch", page, "--keep-body", "-w"), "hello, world\n")


@case
def a_read_tells_size_lines_and_hash():
    match(r"^21 bytes 10 lines sha256 [0-9a-f]{64}\n$",
          answer("submit", "read", "ten.txt", "-w", cwd=folder.name))


@case
def content_read_is_the_answer():
    equal(answer("submit", "read", "ten.txt", "--content", "--length", "4", "-w",
                 cwd=folder.name), "1\n2\n")


@case
def rows_are_a_table():
    out = answer("submit", "sql", "--db", "stock", "SELECT * FROM part WHERE id >= ?",
                 "--param", "1", "-w")
    equal([line.split() for line in out.splitlines()],
          [["id", "name"], ["1", "bolt"], ["2", "nut"]])


@case
def a_timer_counts_its_ticks():
    match(r"^3 ticks, at most ", answer("submit", "timer", "--every", "10ms", "--count", "3",
                                        "-w"))


@case
def several_answers_say_whose_they_are():
    out = answer("submit", "read", "ten.txt", "stock.db", "-w", cwd=folder.name)
    equal(sorted(line.split(":")[0] for line in out.splitlines()), ["stock.db", "ten.txt"])


# --- exit codes and complaints ----------------------------------------------------------------

@case
def a_failed_job_is_exit_1_and_says_why():
    match(r"job \d+ \(nowhere.txt\) failed: ",
          complaint("submit", "read", "nowhere.txt", "-w", code=1, cwd=folder.name))


@case
def a_mistyped_command_or_option_names_the_nearest():
    match('did you mean "submit"', complaint("sumbit", "sum", "1", code=2))
    match("did you mean --timeout", complaint("submit", "sum", "1", "--timeuot", "1s", code=2))
    match("has no option --db", complaint("submit", "sum", "1", "--db", "x", code=2))
    match("not a duration", complaint("submit", "sum", "1", "--timeout", "fast", code=2))
    match("not a number", complaint("submit", "sum", "one", code=2))
    match('did you mean "ping"', complaint("call", "pign", code=2))
    match("needs a value", complaint("submit", "sum", "1", "--timeout", code=2))


@case
def without_a_daemon_it_is_exit_3():
    match(r"not reachable at ipc:///nowhere/x.sock: .*is it running",
          complaint("ping", url="ipc:///nowhere/x.sock", code=3))
    match("not the URL", complaint("ping", "-u", "gopher://x", code=2))


@case
def what_the_daemon_refuses_is_exit_4():
    complaint("wait", "999999", code=4)
    complaint("show", "999999", code=4)


@case
def a_wait_past_its_timeout_is_exit_124_and_the_batch_goes_on():
    batch = batch_of(answer("submit", "timer", "--every", "1h", "--json"))
    match("goctl wait", complaint("wait", str(batch), "--timeout", "200ms", code=124))


@case
def every_command_has_help_and_an_example():
    overview = answer("help")
    commands = re.findall(r"^  (\w[\w-]*(?: [\w-]+)?)  +\S", overview, re.M)
    if len(commands) < 30:
        raise AssertionError(f"only {len(commands)} commands in goctl help")
    for command in commands:
        text = answer("help", *command.split())
        match(r"^usage: goctl " + command, text)
        match(r"Example\n  goctl " + command.split()[0], text)
        equal(answer(*command.split(), "--help"), text)


# --- streams ----------------------------------------------------------------------------------

@case
def a_stream_of_jobs_gives_every_result_once():
    n = 30000
    jobs = "".join('{"sum":{"numbers":[%d,1]},"name":"j%d"}\n' % (i, i) for i in range(n))
    got = lines(answer("submit", "-f", "-", "--wait", "--json", stdin=jobs))
    equal(len({j["id"] for j in got}), n)
    equal(len(got), n)
    equal({j["batch"] for j in got}, {got[0]["batch"]})
    for j in got:
        equal(j["sum"]["sum"], int(j["name"][1:]) + 1)


@case
def a_slow_writer_sees_each_result_at_once():
    p = subprocess.Popen([GOCTL, "submit", "-f", "-", "--wait", "--json"], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         env=environment(daemon.url))
    for i in range(5):
        p.stdin.write('{"sum":{"numbers":[%d]}}\n' % i)
        p.stdin.flush()
        equal(json.loads(p.stdout.readline())["sum"]["sum"], i)
    p.stdin.close()
    equal(p.stdout.read(), "")
    equal(p.wait(PATIENCE), 0)


@case
def a_wrong_line_is_named_and_what_was_before_it_stays():
    match(r'^goctl: stdin:2: .*did you mean "sum"',
          complaint("submit", "-f", "-", code=2, stdin='{"sum":{"numbers":[1]}}\n{"smu":{}}\n'))
    match(r"^goctl: stdin:3: ",
          complaint("submit", "-f", "-", code=4,
                    stdin='{"sum":{"numbers":[1]}}\n\n{"fetch":{"url":"gopher://x/"}}\n'))


@case
def options_are_the_lines_defaults():
    out = answer("submit", "-f", "-", "--name", "given", "--wait", "--json",
                 stdin='{"sum":{"numbers":[1]}}\n{"sum":{"numbers":[2]},"name":"own"}\n')
    equal(sorted((j["name"], j["sum"]["sum"]) for j in lines(out)), [("given", 1), ("own", 2)])


@case
def an_empty_file_is_no_failure():
    equal(answer("submit", "-f", "-", "--wait", stdin=""), "")


@case
def the_same_key_is_the_same_job():
    first = json.loads(answer("submit", "sum", "1", "--key", "once", "--wait", "--json"))
    again = json.loads(answer("submit", "sum", "1", "--key", "once", "--wait", "--json"))
    equal(again["id"], first["id"])


# --- signals, pipes, a daemon that goes away --------------------------------------------------

@case
def interrupting_a_wait_says_how_to_go_on():
    batch = batch_of(answer("submit", "timer", "--every", "1h", "--json"))
    p = subprocess.Popen([GOCTL, "wait", str(batch)], stderr=subprocess.PIPE, text=True,
                         env=environment(daemon.url))
    end = time.monotonic() + PATIENCE
    while json.loads(answer("call", "ping")) and time.monotonic() < end:
        with open(f"/proc/{p.pid}/status", encoding="utf-8") as f:
            threads = int(re.search(r"Threads:\t(\d+)", f.read()).group(1))
        if threads > 2:  # it has connected
            break
    p.send_signal(signal.SIGINT)
    equal(p.wait(PATIENCE), 130)
    err = p.stderr.read()
    if err:  # it may have been interrupted before it waited
        match(f"goctl wait {batch}", err)


@case
def a_reader_that_leaves_ends_it_quietly():
    p = subprocess.Popen([GOCTL, "ls", "--json", "--limit", "0"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env=environment(daemon.url))
    p.stdout.close()
    equal(p.stderr.read(), "")
    equal(p.wait(PATIENCE), 141)


@case
def watch_resumes_after_a_number_and_otherwise_begins_now():
    newest = json.loads(answer("call", "events", '{"after": 999999999, "timeout": "0s"}'))["next"]
    job = json.loads(answer("submit", "sum", "1", "--json"))["ids"][0]
    p = subprocess.Popen([GOCTL, "watch", "--json", "--since", str(newest)], text=True,
                         stdout=subprocess.PIPE, env=environment(daemon.url))
    killer = threading.Timer(PATIENCE, p.kill)
    killer.start()
    states = []
    while "succeeded" not in states:
        event = json.loads(p.stdout.readline())
        if event["seq"] <= newest:
            raise AssertionError(f"{event} was before {newest}")
        if event.get("job", {}).get("id") == job:
            states.append(event["job"]["state"])
    killer.cancel()
    p.kill()
    p.communicate()


@case
def a_waiting_client_outlives_a_killed_daemon():
    p = subprocess.Popen([GOCTL, "submit", "timer", "--every", "2s", "--wait", "--json"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         env=environment(daemon.url))
    end = time.monotonic() + PATIENCE
    while not any(j["state"] == "running" and j["kind"] == "timer"
                  for j in lines(answer("ls", "--json", "--limit", "5"))):
        if time.monotonic() > end:
            raise AssertionError("the job does not start")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    out, err = p.communicate(timeout=PATIENCE)
    equal(p.returncode, 0)
    equal(json.loads(out)["state"], "succeeded")
    match("waiting for it to come back", err)


@case
def many_clients_at_once_each_get_their_own_answer():
    running = [subprocess.Popen([GOCTL, "submit", "sum", str(i), "--wait"], text=True,
                                stdout=subprocess.PIPE, env=environment(daemon.url))
               for i in range(60)]
    for i, p in enumerate(running):
        equal(p.communicate(timeout=PATIENCE)[0], f"{i}\n")
        equal(p.returncode, 0)


daemon.stop()
site.shutdown()
print(f"1..{len(results)}")
if not all(results):
    print("# " + daemon.tail().replace("\n", "\n# "))
folder.cleanup()
sys.exit(0 if all(results) else 1)
