"""The wire by hand: for what no honest client sends. nng's frames on a Unix socket, each
holding a REQ header and a Request or Response in protobuf."""
import os
import socket
import struct

REQ, REP = 0x30, 0x31
SUBMIT, WAIT, PING, ERROR = 10, 11, 16, 9  # fields of Request and Response


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def request(call, body=b""):
    return field(1, 1) + field(2, os.urandom(16)) + field(call, body)


def fields(data):
    """The fields of a message: numbers, and bytes undecoded."""
    found = {}

    def take():
        nonlocal data
        n, shift = 0, 0
        while True:
            byte, data = data[0], data[1:]
            n |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return n

    while data:
        key = take()
        value = take()
        if key & 7 == 2:
            value, data = data[:value], data[value:]
        found[key >> 3] = value
    return found


class Wire:
    """One connection, once both sides have said who they are."""

    def __init__(self, path, greeting=b"\0SP\0" + struct.pack(">HH", REQ, 0)):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(path)  # waits where the listener's queue is full
        self.s.settimeout(60)
        self.s.sendall(greeting)

    def greeted(self):
        assert self.exactly(8) == b"\0SP\0" + struct.pack(">HH", REP, 0)
        return self

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise ConnectionResetError("closed")
            data += more
        return data

    def frame(self, body, length=None):
        """Sends body as a frame that claims to hold length bytes."""
        self.s.sendall(b"\1" + struct.pack(">Q", len(body) if length is None else length) + body)

    def send(self, message, number=1):
        self.frame(struct.pack(">I", 0x80000000 | number) + message)

    def receive(self):
        """The next reply's fields, behind the number of its request."""
        kind, length = struct.unpack(">BQ", self.exactly(9))
        assert kind == 1
        body = self.exactly(length)
        number = struct.unpack(">I", body[:4])[0]
        return number & 0x7fffffff, fields(body[4:])

    def closed(self):
        """Whether the other side hangs up."""
        try:
            while self.s.recv(4096):
                pass
        except ConnectionError:
            pass
        return True

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
