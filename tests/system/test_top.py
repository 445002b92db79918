#!/usr/bin/env python3
"""usage: test_top.py GOJOBD RPC GOCTL: goctl top and the bar of a wait, in a real terminal;
prints TAP."""
import json
import os
import re
import signal
import subprocess
import sys

from daemon import LIMIT, main, until
from terminal import Terminal

GOCTL = os.path.abspath(sys.argv[3])
TIMER = {"timer": {"every": "50ms", "count": 1000000}}


def goctl(d, *args):
    return subprocess.run([GOCTL, "-u", d.url, *args], capture_output=True, text=True,
                          timeout=LIMIT, check=False)


def busy(d):
    """A daemon with a batch, a named job that runs, and a queue with a limit."""
    d.start()
    with d.client() as c:
        c.call("queue_set", {"name": "narrow", "limits": {"running": 3}})
        return c.call("submit", {"jobs": [{**TIMER, "name": "tïcker"},
                                          {"sum": {"numbers": [1]}},
                                          {**TIMER, "queue": "narrow"}]})


def top(d, t, *args):
    t.type(f"{GOCTL} -u {d.url} top {' '.join(args)}")
    return t.shows(lambda s: "gojobd " in s and "ticks" in s, "the screen of goctl top")


def pid_of_top(t):
    shell = int(t.tmux("display-message", "-p", "#{pane_pid}"))
    with open(f"/proc/{shell}/task/{shell}/children") as f:
        return int(f.read().split()[0])


def restored(t, code):
    """Back at the shell, which sees the exit code, and a terminal that echoes."""
    t.type("echo =$?=; stty -a | tr ' ' '\\n' | grep -x -e echo -e icanon | tr '\\n' ' '")
    t.shows(lambda s: f"={code}=\n" in s and "icanon echo" in s, "the shell's terminal as it was")


def a_pipe_gets_one_plain_snapshot(d):
    rep = busy(d)
    r = goctl(d, "top")
    assert r.returncode == 0 and "\033" not in r.stdout, r
    for pattern in (r"^gojobd \S+, up ", r"^jobs +2 running, 0 queued", r"^rate ", r"^memory ",
                    r"^scheduler +\d+ Ps, \d+ threads, \d+ goroutines, .* steals, .* hand-offs",
                    r"^ +1 +3 +0 +0 .* narrow$", rf"^ +{rep['batch']}  \[#+\.+\] +33%  1/3",
                    rf"^ +{rep['ids'][0]} +{rep['batch']}  timer .*tïcker \[.*\] \d+ of 1000000"):
        assert re.search(pattern, r.stdout, re.M), (pattern, r.stdout)
    assert goctl(d, "top", "--once").stdout[:12] == r.stdout[:12]
    s = json.loads(goctl(d, "top", "--json").stdout)
    assert {j["id"] for j in s["running"]} == {rep["ids"][0], rep["ids"][2]}, s
    assert goctl(d, "top", "--every", "1ms").returncode == 2


def the_screen_follows_and_resizes(d):
    busy(d)
    with Terminal(d.dir) as t:
        first = top(d, t, "--every", "100ms")
        far = lambda s: int(re.search(r"(\d+) of 1000000", s).group(1))
        t.shows(lambda s: far(s) > far(first), "progress goes on")
        wide = t.shows(lambda s: "tïcker [" in s and "/s" in s, "name, bar and speed")
        assert max(map(len, wide.splitlines())) > 60
        for columns, rows in ((50, 30), (120, 40), (80, 12), (30, 5)):
            t.resize(columns, rows)
            # Redrawn: the second line is as wide as there is room, and no line wraps.
            s = t.shows(lambda s: len(s.splitlines()) <= rows and s.startswith("gojobd ") and
                        re.search(r"^jobs +\d", s, re.M), f"a screen of {columns}x{rows}")
            assert max(map(len, s.splitlines())) <= columns, s
        t.resize(80, 24)
        t.shows(lambda s: "tïcker" in s, "the lists are back")
        t.keys("q")
        restored(t, 0)


def every_way_out_gives_the_terminal_back(d):
    busy(d)
    with Terminal(d.dir) as t:
        top(d, t)
        t.keys("C-c")
        restored(t, 0)
        for sig, code in ((signal.SIGTERM, 143), (signal.SIGINT, 0), (signal.SIGHUP, 129)):
            t.type("clear")
            top(d, t)
            os.kill(pid_of_top(t), sig)
            restored(t, code)
        t.type("clear")
        top(d, t)
        t.keys("C-z")
        t.type("fg")
        t.shows(lambda s: "goroutines" in s and "ticks" in s, "the screen again")
        t.keys("q")
        restored(t, 0)


def plain_terminals_are_enough(d):
    busy(d)
    with Terminal(d.dir, term="screen") as t:
        for term in ("vt100", "xterm"):
            t.type("clear")
            t.type(f"TERM={term} {GOCTL} -u {d.url} top")
            t.shows(lambda s: "gojobd " in s and "ticks" in s, f"the screen as {term}")
            t.keys("q")
            restored(t, 0)
        for term, why in (("dumb", "cannot move its cursor"), ("none-such", "no kind")):
            t.type("clear")
            t.type(f"TERM={term} {GOCTL} -u {d.url} top; echo =$?=")
            t.shows(lambda s: why in s and "\n=2=\n" in s and "--once" in
                    s.replace("\n", ""), f"a word to {term}")


def colour_is_used_unless_told_otherwise(d):
    busy(d)
    colours = lambda t: re.search(r"\033\[3[1-7]m", t.screen("-e"))
    with Terminal(d.dir, term="screen-256color") as t:
        top(d, t)
        until(lambda: colours(t), "colours")
        t.keys("q")
    with Terminal(d.dir, 81, term="screen-256color", env={"NO_COLOR": "1"}) as t:
        top(d, t)
        assert not colours(t), t.screen("-e")
        t.keys("q")


def a_restart_of_the_daemon_is_seen_and_outlived(d):
    busy(d)
    with Terminal(d.dir) as t:
        top(d, t, "--every", "100ms")
        d.kill()
        t.shows(lambda s: "no answer for" in s and "looking for the daemon" in s, "the loss")
        d.start()
        t.shows(lambda s: "no answer" not in s and "up " in s and "ticks" in s, "the return")
        t.keys("q")
        restored(t, 0)


def a_wait_has_a_bar_that_fits(d):
    d.start()
    for columns, parts in ((40, r"^\[#*\.+\] \d+/50, 1 failed"),
                           (80, r"^\[#*\.+\] \d+/50, 1 failed, \d+ running, [\d.]+/s"),
                           (200, r"^\[#*\.+\] \d+/50, 1 failed, \d+ running, [\d.]+/s")):
        jobs = [{"timer": {"every": f"{20 * i + 20}ms"}} for i in range(48)]
        jobs += [{"timer": {"every": "1h"}}, {"read": {"path": "/none", "glob": False}}]
        with open(f"{d.dir}/jobs", "w") as f:
            f.writelines(json.dumps(j) + "\n" for j in jobs)
        with Terminal(d.dir, columns, 10) as t:
            t.type(f"{GOCTL} -u {d.url} submit -f {d.dir}/jobs --wait >/dev/null")
            s = t.shows(lambda s: re.search(parts, s, re.M), f"a bar of {columns} columns")
            bars = [line for line in s.splitlines() if line.startswith("[")]
            assert len(bars) == 1 and len(bars[0]) < columns, s
            t.keys("C-c")
            t.shows(lambda s: "goes on without you" in s.replace("\n", " "), "a last word")


main([a_pipe_gets_one_plain_snapshot, the_screen_follows_and_resizes,
      every_way_out_gives_the_terminal_back, plain_terminals_are_enough,
      colour_is_used_unless_told_otherwise, a_restart_of_the_daemon_is_seen_and_outlived,
      a_wait_has_a_bar_that_fits])
