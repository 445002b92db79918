"""A gojobd of one's own in a directory of its own, and a client that speaks JSON to it."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

LIMIT = 60  # seconds: no single answer may take longer

# ThreadSanitizer sleeps for a second at each exit otherwise, and there are many processes.
os.environ["TSAN_OPTIONS"] = os.environ.get("TSAN_OPTIONS", "") + ":atexit_sleep_ms=0"


class Skip(Exception):
    """What a test needs is not here; says what."""


class Daemon:
    def __init__(self, gojobd, rpc, goctl=None, config=""):
        self.gojobd, self.rpc, self.goctl = gojobd, rpc, goctl
        self.dir = tempfile.mkdtemp(prefix="gojobd-test-")
        self.url = f"ipc://{self.dir}/s.sock"
        self.config = f"{self.dir}/gojobd.yaml"
        self.state = f"{self.dir}/state"
        self.log_path = f"{self.dir}/log"
        os.mkdir(f"{self.dir}/files")
        self.configure(config)
        self.process = None

    def configure(self, config, listen=()):
        """The configuration; listen holds URLs beside the Unix socket's."""
        with open(self.config, "w") as f:
            f.write(f"state_dir: {self.state}\nlisten: {[self.url, *listen]}\n"
                    f"events: ['ipc://{self.dir}/e.sock']\n"
                    f"files: {{roots: ['{self.dir}/files']}}\n{config}\n")

    def start(self, before=()):
        """Runs it, behind the words of before, until it answers."""
        self.spawn(before)
        with self.client() as c:
            c.call("ping", {})

    def spawn(self, before=()):
        log = open(self.log_path, "ab")
        env = dict(os.environ)
        env.pop("NOTIFY_SOCKET", None)
        self.process = subprocess.Popen([*before, self.gojobd, "--config", self.config],
                                        stderr=log, env=env)
        log.close()

    def refuses_to_start(self, *args):
        """What it says when it does not start, and the status it exits with."""
        got = subprocess.run([self.gojobd, "--config", self.config, *args],
                             capture_output=True, text=True, timeout=LIMIT)
        return got.returncode, got.stderr

    def ctl(self, *args, url=None, **more):
        """Runs goctl to its end."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("GOJOBD")}
        return subprocess.run([self.goctl, "-u", url or self.url, *args], env=env, text=True,
                              capture_output=True, timeout=LIMIT, **more)

    def ctl_start(self, *args, url=None, **more):
        """Starts goctl, with pipes."""
        # nng 1.5.2 forgets the message that it is about to send when the connection breaks just
        # then: some hundred bytes, no leak of ours.
        env = dict(more.pop("env", os.environ))
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        return subprocess.Popen([self.goctl, "-u", url or self.url, *args], text=True, env=env,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def client(self, *args):
        return Client(self, args)

    def call(self, method, args):
        with self.client() as c:
            return c.call(method, args)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Refused(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.code, self.field = error["code"], error.get("field")


class Client:
    """One connection; it dials again by itself, and sends a call again when that was lost."""

    def __init__(self, daemon, args):
        self.process = subprocess.Popen([daemon.rpc, daemon.url, *args], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.stdin.close()
        self.process.wait(LIMIT)
        self.process.stdout.close()

    def send(self, method, args):
        self.line(json.dumps({method: args}))

    def line(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def receive(self):
        text = self.process.stdout.readline()
        if not text.startswith("{"):
            raise RuntimeError(f"no reply: {text!r}")
        reply = json.loads(text)
        if "error" in reply:
            raise Refused(reply["error"])
        return next(v for k, v in reply.items() if k not in ("version", "request_id"))

    def call(self, method, args):
        self.send(method, args)
        return self.receive()

    def refused(self, method, args):
        try:
            got = self.call(method, args)
        except Refused as e:
            return e.code, e.field
        raise AssertionError(f"{method} was not refused: {got}")

    def wait(self, batch):
        """All jobs of a batch by id, once it has ended; each must come exactly once."""
        jobs, after = {}, 0
        while True:
            rep = self.call("wait", {"batch": batch, "after": after, "jobs": True,
                                     "results": True, "timeout": "20s"})
            for job in rep.get("jobs", []):
                assert job["id"] not in jobs, f"job {job['id']} came twice"
                jobs[job["id"]] = job
            after = rep["next"]
            if rep["done"]:
                return jobs

    def run(self, *specs, **submit):
        """Submits, waits, and returns the jobs in order."""
        rep = self.call("submit", {"jobs": list(specs), **submit})
        jobs = self.wait(rep["batch"])
        return [jobs[i] for i in rep["ids"]]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(condition, what):
    """Polls: for what no call waits for."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.01)


def sentences(namespace):
    """A module's tests: its own functions but those that begin with "_"."""
    return [v for k, v in namespace.items() if callable(v) and not k.startswith("_")
            and getattr(v, "__module__", "") == "__main__"]


def main(tests):
    """Runs functions of a Daemon, named as sentences, and prints TAP."""
    binaries = [os.path.abspath(path) for path in sys.argv[1:4]]
    failed = 0
    print(f"1..{len(tests)}")
    for n, test in enumerate(tests, 1):
        daemon = Daemon(*binaries)
        try:
            test(daemon)
            print(f"ok {n} - {test.__name__}", flush=True)
        except Skip as e:
            print(f"ok {n} - {test.__name__} # SKIP {e}", flush=True)
        except Exception as e:  # a test's failure must not hide the next ones
            failed += 1
            print(f"not ok {n} - {test.__name__}", flush=True)
            where = e.__traceback__
            while where.tb_next:
                where = where.tb_next
            print(f"# line {where.tb_lineno}: {type(e).__name__}: {e}")
            for line in daemon.log().splitlines()[-15:]:
                print(f"# log: {line}", flush=True)
        finally:
            daemon.close()
    sys.exit(1 if failed else 0)
