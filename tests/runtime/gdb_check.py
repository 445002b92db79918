#!/usr/bin/env python3
"""Runs TEST_DUMP's be_looked_at under gdb with goroutines.py: live, on a core of gdb's and
on one of the kernel's. Prints TAP; skips what this machine cannot do."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

results = []


def report(name, problems=(), skip=None):
    results.append(not problems)
    print(f"{'not ok' if problems else 'ok'} {len(results)} - {name}"
          f"{' # SKIP ' + skip if skip else ''}")
    for problem in problems:
        for line in str(problem).splitlines():
            print(f"# {line}")


def gdb(program, commands, core=None, cwd=None, env=None):
    """What gdb prints."""
    argv = ["gdb", "-q", "-nx", "-batch"]
    for command in commands:
        argv += ["-ex", command]
    argv.append(program)
    if core is not None:
        argv.append(core)
    done = subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode("utf-8", "replace")


LOOK = [
    "info goroutines",
    "echo ==second==\\n",
    "goroutine 3 bt",
    "echo ==local==\\n",
    "goroutine 2 print answer",
    "echo ==self==\\n",
    "goroutine 1 bt",
    "echo ==all==\\n",
    "goroutine all bt",
    "echo ==back==\\n",
    "bt",
    "echo ==wrong==\\n",
    "goroutine 999 bt",
]


def section(output, name):
    match = re.search(rf"^=={name}==\n(.*?)(?=^==|\Z)", output, re.MULTILINE | re.DOTALL)
    return match.group(1) if match else ""


def want(output, where, *patterns):
    """Which of the patterns do not occur, in this order."""
    missing, at = [], 0
    for pattern in patterns:
        match = re.compile(pattern, re.MULTILINE).search(output, at)
        if match is None:
            missing.append(f"{where}: no /{pattern}/ in:\n{output}")
        else:
            at = match.end()
    return missing


def check_look(label, output):
    report(label + "info goroutines lists each with state, function and creator",
           want(output, "list", r"^\*? +1  running +main ",
                r"^ +2  chan receive +wait_with_a_local +be_looked_at at .*test_dump\.c:\d+$",
                r"^ +3  chan receive +second +be_looked_at at "))
    second = section(output, "second")
    report(label + "goroutine N bt shows where a parked one waits",
           want(second, "bt", r"^goroutine 3 \[chan receive\] second:", r" in go_chan_recv \(",
                r" in wait_here \(", r" in outer \(", r"rt_start_ \(") +
           (["frame #0 of the thread is shown"] if "look_at_me" in second else []))
    report(label + "locals of a parked one can be read",
           want(section(output, "local"), "local", r"= 4711$"))
    report(label + "goroutine N bt shows the running one",
           want(section(output, "self"), "self", r"look_at_me \(", r"be_looked_at \("))
    report(label + "goroutine all visits everyone",
           want(section(output, "all"), "all", r"^goroutine 1 ", r"^goroutine 2 ",
                r"^goroutine 3 "))
    report(label + "afterwards the thread is as it was",
           want(section(output, "back"), "back", r"^#0 .*", r"be_looked_at \(") +
           (["a goroutine's frames stayed"] if "wait_here" in section(output, "back") else []))
    report(label + "an unknown goroutine is an error",
           want(section(output, "wrong"), "wrong", r"no goroutine 999"))


def kernel_core(program, script, folder):
    """Checks a core of the kernel's, or says why not."""
    with open("/proc/sys/kernel/core_pattern", encoding="utf-8") as file:
        pattern = file.read().strip()
    if not re.fullmatch(r"[\w.%-]+", pattern):
        return f"the kernel does not leave cores here: core_pattern is {pattern}"
    env = dict(os.environ, GOSEED="1", GOTRACEBACK="crash")
    subprocess.run(["/bin/sh", "-c", 'ulimit -c unlimited; exec "$0" --child be_looked_at',
                    program], cwd=folder, env=env, check=False, timeout=60,
                   stderr=subprocess.DEVNULL)
    cores = [name for name in os.listdir(folder) if name.startswith("core")]
    if not cores:
        return "the kernel left no core (ulimit -c)"
    check_look("kernel's core: ", gdb(program, ["source " + script] + LOOK,
                                      core=os.path.join(folder, cores[0])))
    return None


def main():
    program, script = map(os.path.abspath, sys.argv[1:])
    if shutil.which("gdb") is None:
        print("1..0 # SKIP gdb is not installed")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        # generate-core-file leaves out memory with the other kind of guard pages in it.
        env = dict(os.environ, GOSEED="1", GODEBUG="guard=mprotect")
        env.pop("GOTRACEBACK", None)
        core = os.path.join(folder, "from-gdb")
        output = gdb(program, ["set pagination off", "break look_at_me",
                               "run --child be_looked_at", "source " + script] + LOOK +
                     ["generate-core-file " + core, "kill"], env=env)
        if re.search(r"ptrace: Operation not permitted|Could not trace the inferior|"
                     r"Cannot create process", output):
            report("live", skip="this machine does not allow ptrace")
        else:
            check_look("live: ", output)
            check_look("gdb's core: ", gdb(program, ["source " + script] + LOOK, core=core))
        why = kernel_core(program, script, folder)
        if why is not None:
            report("kernel's core", skip=why)
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


sys.exit(main())
