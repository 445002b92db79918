"""gdb commands for goroutines, in a live process and in a core file.

    (gdb) source goroutines.py
    (gdb) info goroutines            every live one: id, state, function, where created
    (gdb) goroutine 18 bt            run a gdb command in goroutine 18: bt, frame 3, ...
    (gdb) goroutine 18 info locals   of the function that called the runtime
    (gdb) goroutine all bt

A goroutine at rest has no thread, so gdb knows no registers of it. While one is looked at,
an unwinder tells gdb that the selected thread's innermost frame was called from where the
goroutine stopped: that is frame #0, which is left out, and the goroutine's own frames
follow, with their locals and arguments. Nothing is written to the process.

A core written by the kernel has every stack. gdb's own generate-core-file (and gcore) leaves
out memory that holds guard pages of the kind new kernels have, and with it the stacks: run
the program with GODEBUG=guard=mprotect if you need one of those.
"""

import contextlib
import re
import struct

import gdb
import gdb.unwinder

STATES = ("dead", "new", "runnable", "running", "waiting", "syscall")
DEAD, NEW, RUNNABLE, RUNNING, WAITING, SYSCALL = range(len(STATES))

# What a saved stack pointer points at (sched/context.h), and where the stack pointer is
# when the goroutine goes on: behind the two words and, on x86-64, the red zone.
MACHINES = {
    "i386:x86-64": {"pc": "rip", "fp": "rbp", "sp": "rsp", "skip": 16 + 128},
    "aarch64": {"pc": "pc", "fp": "x29", "sp": "sp", "skip": 16},
}


def machine():
    name = gdb.selected_inferior().architecture().name()
    if name not in MACHINES:
        raise gdb.GdbError(f"goroutines: no support for {name}")
    return MACHINES[name]


# --- the records --------------------------------------------------------------------------


def records():
    """The static variable of sched/spawn.c; a program may have a "records" of its own."""
    for symbol in gdb.lookup_static_symbols("records"):
        if symbol.symtab.filename.endswith("sched/spawn.c"):
            return symbol.value()
    raise gdb.GdbError("goroutines: no runtime in this program, or no debug information")


def c_string(address):
    if address == 0:
        return None
    try:
        char = gdb.lookup_type("char").pointer()
        return gdb.Value(address).cast(char).string(errors="replace", length=-1)
    except gdb.MemoryError:
        return "?"


class Goroutine:
    def __init__(self, raw, layout, address):
        def number(name, code):
            return struct.unpack_from("<" + code, raw, layout[name])[0]

        self.address = address
        self.sp = number("sp", "Q")
        self.on_cpu = number("on_cpu", "I")
        self.status = number("status", "I")
        self.m = number("m", "Q")
        self.reason_at = number("reason", "Q")
        self.id = number("id", "q")
        self.creator = number("creator", "q")
        self.site_at = number("site", "Q")
        self.name_at = number("name", "Q")
        self.stack = number("stack", "Q")

    def state(self):
        if self.status == WAITING:
            return c_string(self.reason_at) or "waiting"
        return STATES[self.status] if self.status < len(STATES) else "?"

    def name(self):
        return c_string(self.name_at) or "?"

    def created(self):
        if self.site_at == 0:
            return ""
        site = gdb.Value(self.site_at).cast(gdb.lookup_type("struct go_site").pointer())
        return f"{site['func'].string()} at {site['file'].string()}:{int(site['line'])}"

    def at_rest(self):
        return self.stack != 0 and self.on_cpu == 0 and self.status in (RUNNABLE, WAITING)

    def thread(self):
        """The gdb thread it runs on, or None."""
        if self.m == 0:
            return None
        m = gdb.Value(self.m).cast(gdb.lookup_type("struct go_m").pointer())
        tid = int(m["tid"])
        for thread in gdb.selected_inferior().threads():
            if tid in (thread.ptid[1], thread.ptid[2]):
                return thread
        return None


def goroutines():
    """Every live goroutine, by id."""
    found = []
    all_records = records()
    per_chunk = int(gdb.parse_and_eval("rt_records_per_chunk"))
    type_g = gdb.lookup_type("struct go_g")
    layout = {field.name: field.bitpos // 8 for field in type_g.fields()}
    inferior = gdb.selected_inferior()

    for i in range(int(all_records["n"])):
        base = int(all_records["chunk"][i])
        raw = inferior.read_memory(base, per_chunk * type_g.sizeof).tobytes()
        for j in range(per_chunk):
            part = raw[j * type_g.sizeof:(j + 1) * type_g.sizeof]
            g = Goroutine(part, layout, base + j * type_g.sizeof)
            if g.status != DEAD and g.id > 0:
                found.append(g)
    found.sort(key=lambda g: g.id)
    return found


# --- looking at one that is at rest ---------------------------------------------------------


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class RestingUnwinder(gdb.unwinder.Unwinder):
    """While a goroutine is looked at: the innermost frame's caller is where it stopped."""

    def __init__(self):
        super().__init__("goroutines")
        self.enabled = True
        self.registers = None  # of the goroutine, by name
        self.innermost = None  # sp and pc of the selected thread's frame 0

    def __call__(self, pending):
        if self.registers is None:
            return None
        cpu = machine()
        pc = pending.read_register(cpu["pc"])
        sp = pending.read_register(cpu["sp"])
        if (int(sp), int(pc)) != self.innermost:
            return None
        # Frame ids must grow outwards: just inside the goroutine's innermost.
        info = pending.create_unwind_info(
            FrameId(gdb.Value(self.registers[cpu["sp"]] - 8).cast(sp.type), pc))
        for name, value in self.registers.items():
            kind = pending.read_register(name).type
            info.add_saved_register(name, gdb.Value(value).cast(kind))
        return info


UNWINDER = RestingUnwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


@contextlib.contextmanager
def selected(thread):
    """The thread and frame selected before are selected afterwards."""
    before = gdb.selected_thread()
    level = gdb.selected_frame().level()
    if thread is not None:
        thread.switch()
    try:
        yield
    finally:
        before.switch()
        frame = gdb.newest_frame()
        for _ in range(level):
            frame = frame.older()
        frame.select()


def callers_frame():
    """The innermost frame outside the runtime, for commands about locals and arguments."""
    inside = True
    frame = first = gdb.newest_frame().older()
    for _ in range(12):
        if frame is None:
            break
        public = (frame.name() or "").startswith("go_")
        if not inside and not public:
            return frame
        inside = inside and not public
        frame = frame.older()
    return first


def run_at_rest(g, command):
    cpu = machine()
    word = gdb.lookup_type("unsigned long").pointer()
    saved = gdb.Value(g.sp).cast(word)
    gdb.newest_frame().select()
    UNWINDER.innermost = (int(gdb.newest_frame().read_register(cpu["sp"])),
                          int(gdb.newest_frame().read_register(cpu["pc"])))
    UNWINDER.registers = {
        cpu["pc"]: int(saved[0]),
        cpu["fp"]: int(saved[1]),
        cpu["sp"]: g.sp + cpu["skip"],
    }
    gdb.invalidate_cached_frames()
    try:
        callers_frame().select()
        output = gdb.execute(command, to_string=True)
    finally:
        UNWINDER.registers = None
        gdb.invalidate_cached_frames()
    # Frame 0 is the thread's own.
    return re.sub(r"^#0 .*\n(?:(?!#).*\n)*", "", output, flags=re.MULTILINE)


def run(g, command):
    if g.at_rest():
        with selected(None):
            return run_at_rest(g, command)
    thread = g.thread()
    if thread is not None:
        with selected(thread):
            return gdb.execute(command, to_string=True)
    return "has not run yet\n" if g.status == NEW else "is on its way to or from a thread\n"


# --- the commands -----------------------------------------------------------------------------


class InfoGoroutines(gdb.Command):
    """List the live goroutines: id, state or what it waits for, function, creator.
An asterisk marks the one that the selected thread runs."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        here = gdb.selected_thread()
        gdb.write("     Id  State                 Function                  Created by\n")
        for g in goroutines():
            thread = g.thread()
            mark = "*" if here is not None and thread is not None and thread.num == here.num \
                else " "
            gdb.write(f"{mark} {g.id:5}  {g.state():20}  {g.name():24}  {g.created()}\n")


class GoroutineCommand(gdb.Command):
    """goroutine ID COMMAND: run a gdb command, such as bt, in the context of a goroutine.
goroutine all COMMAND: in that of each live one."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK, gdb.COMPLETE_COMMAND)

    def invoke(self, argument, from_tty):
        which, _, command = argument.strip().partition(" ")
        if not which or not command:
            raise gdb.GdbError("usage: goroutine ID|all COMMAND")
        if which != "all" and not which.isdigit():
            raise gdb.GdbError(f"no goroutine \"{which}\": a number or all")
        chosen = [g for g in goroutines() if which == "all" or g.id == int(which)]
        if not chosen:
            raise gdb.GdbError(f"no goroutine {which}")
        for g in chosen:
            gdb.write(f"goroutine {g.id} [{g.state()}] {g.name()}:\n")
            gdb.write(run(g, command))
            if which == "all":
                gdb.write("\n")


InfoGoroutines()
GoroutineCommand()
