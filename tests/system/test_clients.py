#!/usr/bin/env python3
"""Crowds of clients, and clients that break the rules."""
import errno
import os
import signal
import socket
import struct
import sys

import daemon
import wire
from daemon import until
from wire import ERROR, PING, WAIT, Wire, field, request


def _socket_of(d):
    return d.url.removeprefix("ipc://")


def _is_well(d):
    with d.client() as c:
        assert c.run({"sum": {"numbers": [2, 3]}})[0]["sum"]["sum"] == 5


def _full(d):
    """Whether the listener's queue of connections is full."""
    with socket.socket(socket.AF_UNIX) as s:
        s.setblocking(False)
        return s.connect_ex(_socket_of(d)) == errno.EAGAIN


def _pinged(w):
    w.send(request(PING))
    return PING in w.receive()[1]


def five_hundred_clients_wait_at_once(d):
    d.start()
    crowd = []
    try:
        with d.client() as c:
            batch = c.call("submit", {"jobs": [{"timer": {"every": "1h"}}]})["batch"]
            body = field(1, batch) + field(6, field(1, 60 * 10**9))
            for _ in range(500):
                crowd.append(Wire(_socket_of(d)))
                crowd[-1].send(request(WAIT, body))
            until(lambda: c.call("stats", {})["waiters"] == 500, "all of them")
            assert c.call("ping", {})["epoch"] == 1  # one that does not wait is served
            c.call("batch_cancel", {"batch": batch})
        for w in crowd:
            number, reply = w.greeted().receive()
            assert number == 1 and wire.fields(reply[WAIT])[1] == 1, reply
    finally:
        for w in crowd:
            w.close()
    _is_well(d)


def a_crowd_that_comes_at_once_only_waits_a_little(d):
    """More connections than the kernel queues for a listener that is busy."""
    d.start()
    d.process.send_signal(signal.SIGSTOP)
    try:
        crowd = [d.ctl_start("submit", "sum", str(i), "--wait") for i in range(200)]
        until(lambda: _full(d), "a full queue")
    finally:
        d.process.send_signal(signal.SIGCONT)
    for i, p in enumerate(crowd):
        out, err = p.communicate(timeout=daemon.LIMIT)
        assert (p.returncode, out) == (0, f"{i}\n"), err


def garbage_ends_a_connection_and_nothing_else(d):
    d.start()
    good = Wire(_socket_of(d)).greeted()
    assert _pinged(good)
    for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"\0SP\0" + struct.pack(">HH", 0x10, 0),
                     b"\0" * 8, b"\xff" * 64):
        with Wire(_socket_of(d), greeting) as w:
            assert w.closed(), greeting
    for frame in (b"\xff" * 9, b"\1" + b"\xff" * 8, b"\2" + struct.pack(">Q", 4) + b"abcd",
                  b"\1" + struct.pack(">Q", 0), b"\1" + struct.pack(">Q", 3) + b"abc"):
        with Wire(_socket_of(d)) as w:
            w.greeted().s.sendall(frame)
            assert w.closed(), frame
    with Wire(_socket_of(d)) as w:  # a well-formed frame of nonsense gets an answer
        w.greeted().send(b"\xff" * 1000, 7)
        number, reply = w.receive()
        assert number == 7 and ERROR in reply, reply
        assert _pinged(w)
    assert _pinged(good)
    good.close()
    _is_well(d)


def a_message_far_over_the_limit_is_not_even_read(d):
    d.configure("limits: {message: 64KiB}")
    d.start()
    with Wire(_socket_of(d)) as w:
        w.greeted().send(b"\0" * 100000, 3)  # over, but not by far: an answer
        number, reply = w.receive()
        assert number == 3 and wire.fields(reply[ERROR])[1] > 0, reply
        assert _pinged(w)
        w.frame(b"x" * 100, 1 << 40)
        assert w.closed()
    _is_well(d)


def clients_that_stall_or_leave_hold_nobody_up(d):
    d.start()
    stalled = []
    for part in (b"", b"\1", b"\1" + struct.pack(">Q", 1000), b"\1" + struct.pack(">Q", 9) + b"ab"):
        for _ in range(20):
            stalled.append(Wire(_socket_of(d)).greeted())
            stalled[-1].s.sendall(part)
    for _ in range(50):  # some say nothing at all, some leave before their answer
        with Wire(_socket_of(d), b""):
            pass
        with Wire(_socket_of(d)) as w:
            w.send(request(PING))
    with d.client() as c:
        batch = c.call("submit", {"jobs": [{"timer": {"every": "1h"}}]})["batch"]
        for _ in range(50):
            with Wire(_socket_of(d)) as w:
                w.greeted().send(request(WAIT, field(1, batch) + field(6, field(1, 10**12))))
        until(lambda: c.call("stats", {})["waiters"] == 0, "the end of those who left")
    _is_well(d)
    for w in stalled:
        w.close()


def one_that_takes_no_answers_holds_nobody_up(d):
    """It asks for large replies and reads none of them."""
    d.start()
    with d.client() as c:
        c.run(*[{"sum": {"numbers": [n]}, "name": "x" * 200} for n in range(1000)])
    with Wire(_socket_of(d)) as w:
        w.greeted()
        for n in range(50):
            w.send(request(13, field(2, 1000)), n + 1)
        _is_well(d)
        assert d.stop() == 0


def a_client_whose_greeting_is_refused_dials_again(d):
    """As the daemon ends just then; nng's dialler takes that for its own end."""
    if len(sys.argv) < 5:
        raise daemon.Skip("no library to preload beside a sanitizer's")
    refuse = f"{d.dir}/refuse"
    d.start()
    p = d.ctl_start("submit", "timer", "--every", "1h", "--wait", env={
        **os.environ, "LD_PRELOAD": os.path.abspath(sys.argv[4]), "EPIPE_ONCE": refuse})
    until(lambda: d.call("stats", {})["waiters"] == 1, "the waiting client")
    d.kill()
    open(refuse, "w").close()
    d.start()
    until(lambda: not os.path.exists(refuse), "the refused greeting")
    d.call("cancel", {"select": {"jobs": [1]}})
    out, err = p.communicate(timeout=daemon.LIMIT)
    assert p.returncode == 1 and "cancelled" in err, (out, err)


if __name__ == "__main__":
    daemon.main(daemon.sentences(globals()))
