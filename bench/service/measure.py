#!/usr/bin/env python3
"""usage: bench/service/measure.py WORKLOAD SIDE [COUNT]

One run of one side of a row of the service's benchmarks, printed as lines
"figure value unit". Servers are private to the run: they listen on a socket in a
temporary directory or on a free port of the loopback, and keep their data under var/, on
the disk that the project lies on, so that fsync costs what it costs there.
"""
import calendar
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
GOJOBD = os.path.join(BUILD, "daemon/gojobd")
GOCTL = os.path.join(BUILD, "client/goctl")
BENCH = os.path.join(BUILD, "bench")
TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 30  # seconds for a server to come up or to go away


def report(figure, value, unit):
    print(f"{figure} {value:.6g} {unit}".rstrip(), flush=True)


# --- servers


@contextlib.contextmanager
def scratch():
    """A directory on the project's disk, gone afterwards."""
    var = os.path.join(ROOT, "var")
    os.makedirs(var, exist_ok=True)
    path = tempfile.mkdtemp(prefix="bench-", dir=var)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def process(command, ready):
    """A server: started, waited for until ready() is true, ended."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + PATIENCE
            while not ready():
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"{command[0]} does not come up")
                time.sleep(0.02)
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()


@contextlib.contextmanager
def settings(config=""):
    """Yields (path of a configuration, url)."""
    with scratch() as state, tempfile.TemporaryDirectory(prefix="gojobd-") as sockets:
        url = f"ipc://{sockets}/rpc"
        path = os.path.join(state, "gojobd.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"state_dir: {state}/state\nlisten: ['{url}']\n")
            f.write(f"events: ['ipc://{sockets}/events']\nlog: {{level: warning}}\n{config}")
        os.mkdir(os.path.join(state, "state"))
        yield path, url


def started(path, url, before=()):
    command = [*before, GOJOBD, "--config", path]
    return process(command, lambda: goctl_code(url, "ping") == 0)


@contextlib.contextmanager
def gojobd(config=""):
    """Yields (process, url)."""
    with settings(config) as (path, url), started(path, url) as server:
        yield server, url


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def beanstalkd():
    """Yields (process, port). -f 0: fsync at every write, as gojobd."""
    port = free_port()
    with scratch() as binlog:
        command = ["beanstalkd", "-l", "127.0.0.1", "-p", str(port), "-b", binlog, "-f", "0"]
        with process(command, lambda: accepts(port)) as server:
            yield server, port


NGINX = """
daemon off; worker_processes 2; pid {dir}/pid; error_log stderr crit; user {user};
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    server {{ listen 127.0.0.1:{port}; root {dir}; }}
}}
"""


@contextlib.contextmanager
def nginx():
    """Yields the URL of a page of 1 KiB."""
    port = free_port()
    user = "root" if os.geteuid() == 0 else "nobody"
    with tempfile.TemporaryDirectory(prefix="gojobd-nginx-") as path:
        conf = os.path.join(path, "nginx.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(NGINX.format(dir=path, port=port, user=user))
        with open(os.path.join(path, "page"), "wb") as f:
            f.write(b"x" * 1024)
        nginx_path = shutil.which("nginx") or "/usr/sbin/nginx"
        command = [nginx_path, "-p", path, "-e", "stderr", "-c", conf]
        with process(command, lambda: accepts(port)):
            yield f"http://127.0.0.1:{port}/page"


# --- what is looked at


def cpu(pid):
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS"))


def settled_rss_mib(pid):
    """Once free stacks have been given back, at most half a minute later."""
    rss = rss_mib(pid)
    for _ in range(6):
        time.sleep(5)
        before, rss = rss, rss_mib(pid)
        if rss > before * 0.99:
            break
    return rss


def goctl(url, *args, stdin=None, stdout=subprocess.DEVNULL):
    command = [GOCTL, "-u", url, *args]
    return subprocess.run(command, stdin=stdin, stdout=stdout, text=True, check=True).stdout


def goctl_code(url, *args):
    command = [GOCTL, "-u", url, *args]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(command, check=False, **quiet).returncode


def batch_counts(url, batch):
    """The counts of a batch's jobs by state; JSON leaves out those that are 0."""
    reply = goctl(url, "call", "batch_get", json.dumps({"batch": batch}), stdout=subprocess.PIPE)
    return json.loads(reply)["counts"]


def run_lines(url, lines, *args):
    """Submits the lines of JSON as one batch; seconds until goctl's end."""
    with tempfile.TemporaryFile() as f:
        f.writelines(lines)
        f.seek(0)
        start = time.monotonic()
        goctl(url, "submit", "-f", "-", "--json", *args, stdin=f)
        return time.monotonic() - start


# --- durable jobs


def sums(count):
    return (b'{"sum":{"numbers":[%d,%d]}}\n' % (i, i + 1) for i in range(count))


def durable_ours(count):
    with gojobd() as (server, url):
        before = cpu(server.pid) + children_cpu()
        took = run_lines(url, sums(count), "--wait")
        report("durable", count / took, "jobs/s")
        used = cpu(server.pid) + children_cpu() - before
        report("durable_cpu", used / count * 1e6, "us")


def durable_beanstalkd(count):
    """A tenth of the jobs: its rate is the same, and it would take minutes."""
    count = max(count // 10, 1)
    with beanstalkd() as (server, port):
        before = cpu(server.pid) + children_cpu()
        subprocess.run([f"{BENCH}/beanstalk_bench", str(port), "throughput", str(count)], check=True)
        used = cpu(server.pid) + children_cpu() - before
        report("durable_cpu", used / count * 1e6, "us")


def roundtrip_ours(count):
    with gojobd() as (_, url):
        subprocess.run([f"{BENCH}/roundtrip_bench", url, str(count)], check=True)


def roundtrip_beanstalkd(count):
    with beanstalkd() as (_, port):
        subprocess.run([f"{BENCH}/beanstalk_bench", str(port), "roundtrip", str(count)], check=True)


# --- fetch


def fetch_ours(count):
    """The daemon's fetch path, without its store and its RPC."""
    with nginx() as page:
        command = [f"{BENCH}/fetch_bench", page, str(count), "64"]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        report("fetch", float(out.split()[0]), "1/s")


def fetch_go(count, figure="fetch"):
    with nginx() as page:
        command = [f"{BENCH}/service-go", "fetch", page, str(count)]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        report(figure, float(out.split()[1]), "1/s")


def fetch_go_durable(count):
    """Go fetches the same pages, but keeps nothing."""
    fetch_go(count, "fetch_durable")


def fetch_durable(count):
    """Durable jobs, from goctl's start to its end."""
    config = "fetch: {allow: [127.0.0.0/8], per_host: 64}\nlimits: {fetch: 64}\n"
    with nginx() as page, gojobd(config) as (_, url):
        line = json.dumps({"fetch": {"url": page}}).encode() + b"\n"
        report("fetch_durable", count / run_lines(url, [line] * count, "--wait"), "1/s")


# --- a file of 1 GiB


def numbers_file(size):
    """A file of numbers, one a line; made once. Returns (path, their sum)."""
    path = os.path.join(BENCH, f"numbers-{size}")
    rng = random.Random(1)
    block = [rng.randrange(1_000_000) for _ in range(150_000)]
    text = "".join(f"{n}\n" for n in block).encode()
    rounds = size // len(text)
    if not os.path.exists(path):
        with open(path + ".new", "wb") as f:
            for _ in range(rounds):
                f.write(text)
        os.rename(path + ".new", path)
    with open(path, "rb") as f:  # into the page cache, for every side alike
        while f.read(1 << 22):
            pass
    return path, sum(block) * rounds


def file_job(kind, size):
    path, total = numbers_file(size)
    with gojobd(f"files: {{roots: ['{BENCH}']}}\n") as (_, url):
        args = [path] if kind == "read" else ["--file", path]
        start = time.monotonic()
        line = goctl(url, "submit", kind, *args, "--wait", "--json", stdout=subprocess.PIPE)
        report(kind, (time.monotonic() - start) * 1e3, "ms")
        job = json.loads(line)
        if job["state"] != "succeeded" or (kind == "sum" and job["sum"]["sum"] != total):
            sys.exit(f"a wrong result: {line}")


def shell(kind, size, script):
    path, _ = numbers_file(size)
    start = time.monotonic()
    subprocess.run(["sh", "-ec", script, "sh", path], stdout=subprocess.DEVNULL, check=True)
    report(kind, (time.monotonic() - start) * 1e3, "ms")


def file_go(kind, size):
    path, _ = numbers_file(size)
    command = [f"{BENCH}/service-go", kind, path]
    subprocess.run(command, stderr=subprocess.DEVNULL, check=True)


# --- memory


def idle(_count):
    with gojobd() as (server, _):
        report("rss_idle", rss_mib(server.pid), "MiB")


def timers(count):
    with gojobd() as (server, url):
        run_lines(url, [b'{"timer":{"every":"3600s","count":1}}\n'] * count)
        wait_for(url, lambda counts: counts.get("running", 0) == count)
        report("rss_timers", settled_rss_mib(server.pid), "MiB")


def waiters(count):
    """So many calls wait for one batch, a hundred on a connection; the daemon does nothing
    else for ten seconds."""
    with gojobd() as (server, url):
        goctl(url, "call", "batch_open", '{"spec":{"name":"waited-for"}}')
        before = rss_mib(server.pid)
        command = [f"{BENCH}/waiters_bench", url, "1", str(count), str(max(count // 100, 1))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as clients:
            until = time.monotonic() + 120
            while waiting(url) < count:
                if clients.poll() is not None or time.monotonic() > until:
                    sys.exit(f"of {count} calls {waiting(url)} wait")
                time.sleep(0.05)
            rss = settled_rss_mib(server.pid)
            used, start = cpu(server.pid), time.monotonic()
            time.sleep(10)
            used = (cpu(server.pid) - used) / (time.monotonic() - start)
            report("waiters_rss", (rss - before) * 1024 / count, "KiB")
            report("waiters_cpu", used * 100, "%")
            goctl(url, "batch", "close", "1")
            report("waiters_woken", float(clients.communicate(timeout=120)[0].split()[1]), "ms")
            if clients.returncode != 0:
                sys.exit("not every call was answered")


def waiting(url):
    reply = goctl(url, "stats", "--json", stdout=subprocess.PIPE)
    return json.loads(reply)["waiters"]


def wait_for(url, true):
    """Until true(counts of batch 1)."""
    until = time.monotonic() + 120
    while not true(batch_counts(url, 1)):
        if time.monotonic() > until:
            sys.exit(f"after 2 minutes: {batch_counts(url, 1)}")
        time.sleep(0.05)


# --- schedules


def schedules(count):
    """So many at rest: what they cost in memory and at a start; and, beside them, how late
    jobs of 100 others start, which fire every second, 10 ms apart."""
    with settings() as (path, url):
        with started(path, url) as server:
            before = rss_mib(server.pid)
            subprocess.run([os.path.join(BENCH, "schedules_bench"), url, str(count)], check=True)
        begun = time.monotonic()
        with started(path, url) as server:
            report("sched_start", 1000 * (time.monotonic() - begun), "ms")
            report("sched_rss", settled_rss_mib(server.pid) - before, "MiB")
            late = sorted(lateness(url))
            report("sched_late_p50", late[len(late) // 2], "ms")
            report("sched_late_p99", late[len(late) * 99 // 100], "ms")


def lateness(url, n=100, seconds=20):
    """Milliseconds from when each run of n schedules was due to the start of its job."""
    first = time.time_ns() // 1_000_000 // 1000 * 1000 + 5000
    for i in range(n):
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(first // 1000)) + f".{i * 10:03d}Z"
        goctl(url, "submit", "sum", "1", "--every", "1s", "--at", at, "--label", f"at={i * 10}")
    time.sleep(first / 1000 - time.time() + seconds)
    jobs = goctl(url, "ls", "--json", "--limit", str(n * (seconds - 1)), stdout=subprocess.PIPE)
    for job in map(json.loads, jobs.splitlines()):
        yield late_by(job["started"], first + int(job["labels"]["at"]))


def late_by(started, grid):
    """From the last time of the grid, one a second, to a time as JSON has it."""
    whole, _, rest = started.rstrip("Z").partition(".")
    ms = int(f"{rest:0<3.3s}") if rest else 0
    return (calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 1000 + ms - grid) % 1000


# --- a long queue


def queue(count):
    """Jobs a second, submitted and run, in the first and in the last tenth of a backlog."""
    with gojobd() as (server, url):
        before = rss_mib(server.pid)
        goctl(url, "queue", "set", "default", "--running", "1000")
        goctl(url, "queue", "pause", "default")
        submit_backlog(url, count)
        report("queue_rss", rss_mib(server.pid) - before, "MiB")
        goctl(url, "queue", "resume", "default")
        tenths = [tenth_done(url, count, tenth) for tenth in (0, 1, 9, 10)]
        report("queue_run_first", count / 10 / (tenths[1] - tenths[0]), "jobs/s")
        report("queue_run", count / 10 / (tenths[3] - tenths[2]), "jobs/s")


def submit_backlog(url, count):
    """goctl reads no faster than the daemon takes, but for a bounded window."""
    command = [GOCTL, "-u", url, "submit", "-f", "-", "--json"]
    ends = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    chunk = b'{"sum":{"numbers":[100000,200000]}}\n' * (count // 10)
    times = [time.monotonic()]
    with subprocess.Popen(command, **ends) as client:
        for _ in range(10):
            client.stdin.write(chunk)
            client.stdin.flush()
            times.append(time.monotonic())
        client.stdin.close()
        client.wait()
        times[-1] = time.monotonic()
    if client.returncode != 0:
        sys.exit("submitting failed")
    report("queue_submit_first", count / 10 / (times[1] - times[0]), "jobs/s")
    report("queue_submit", count / 10 / (times[10] - times[9]), "jobs/s")


def tenth_done(url, count, tenth):
    """When so many tenths were done."""
    while batch_counts(url, 1).get("succeeded", 0) < count * tenth // 10:
        time.sleep(0.1)
    return time.monotonic()


# --- a busy daemon

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"


def ping_busy(count):
    """Pings while names are asked of a server that never answers, another takes connections
    and says nothing, a statement runs for ever, and files of 1 GiB are read and summed."""
    apart = ["unshare", "--mount", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]),
             sys.executable, os.path.join(ROOT, "tests/system/hung_net.py")]
    path, _ = numbers_file(1 << 30)
    hung = ("http://never.example/", "http://127.0.0.1:8000/")
    jobs = [{"fetch": {"url": url}} for url in hung * 20]
    jobs += [{"sql": {"db": "d", "query": ENDLESS}}]
    jobs += [{"read": {"path": path}}, {"sum": {"file": path}}] * 4
    with settings(f"files: {{roots: ['{BENCH}']}}\nfetch: {{allow: [127.0.0.0/8]}}\n"
                  f"databases: {{d: {{url: 'sqlite:{BENCH}/empty.db'}}}}\n") as (conf, url):
        open(os.path.join(BENCH, "empty.db"), "ab").close()
        with started(conf, url, apart):
            goctl(url, "call", "submit", json.dumps({"jobs": jobs}))
            wait_for(url, lambda counts: counts.get("running", 0) == len(jobs))
            command = [f"{BENCH}/roundtrip_bench", url, str(count), "ping"]
            out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            for line in out.splitlines():
                figure, value, unit = line.split()
                report(figure + "_busy", float(value), unit)
            if batch_counts(url, 1).get("running", 0) <= len(hung) * 20 + 1:
                sys.exit("the files were read before the pings were over")
            goctl(url, "batch", "cancel", "1")


WORKLOADS = {
    "durable": {"ours": durable_ours, "beanstalkd": durable_beanstalkd},
    "roundtrip": {"ours": roundtrip_ours, "beanstalkd": roundtrip_beanstalkd},
    "fetch": {"ours": fetch_ours, "go": fetch_go},
    "fetch_durable": {"ours": fetch_durable, "go": fetch_go_durable},
    "read": {
        "ours": lambda size: file_job("read", size),
        "wc+sha256sum": lambda size: shell("read", size, 'wc -lc "$1"; sha256sum "$1"'),
        "go": lambda size: file_go("read", size),
    },
    "sum": {
        "ours": lambda size: file_job("sum", size),
        "awk": lambda size: shell("sum", size, "awk '{ s += $1 } END { print s }' \"$1\""),
        "go": lambda size: file_go("sum", size),
    },
    "ping_busy": {"ours": ping_busy},
    "idle": {"ours": idle},
    "timers": {"ours": timers},
    "schedules": {"ours": schedules},
    "waiters": {"ours": waiters},
    "queue": {"ours": queue},
}


def main():
    side = WORKLOADS.get(sys.argv[1], {}).get(sys.argv[2]) if len(sys.argv) == 4 else None
    if side is None:
        sys.exit(__doc__)
    side(int(sys.argv[3]))


if __name__ == "__main__":
    main()
