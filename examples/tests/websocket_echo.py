"""usage: websocket_echo.py PROGRAM

A WebSocket client by hand (RFC 6455), so that nothing but the server is in question.
"""
import base64
import hashlib
import os
import socket
import struct
import sys
import threading

import tap

program = sys.argv[1]
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Client:
    def __init__(self, port):
        key = base64.b64encode(os.urandom(16))
        self.sock = socket.create_connection(("127.0.0.1", port), tap.LIMIT)
        self.file = self.sock.makefile("rb")
        self.sock.sendall(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\n"
                          b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          b"Sec-WebSocket-Key: " + key + b"\r\n\r\n")
        head = b"".join(iter(self.file.readline, b"\r\n")).split(b"\r\n")
        tap.equal(head[0], b"HTTP/1.1 101 Switching Protocols")
        proof = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert b"Sec-WebSocket-Accept: " + base64.b64encode(proof) in head, head

    def send(self, opcode, data, fin=True):
        mask = os.urandom(4)
        if len(data) < 126:
            size = struct.pack("!B", 128 | len(data))
        elif len(data) < 65536:
            size = struct.pack("!BH", 128 | 126, len(data))
        else:
            size = struct.pack("!BQ", 128 | 127, len(data))
        repeated = (mask * (len(data) // 4 + 1))[:len(data)]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(
            len(data), "big")
        self.sock.sendall(bytes([fin << 7 | opcode]) + size + mask + masked)

    def receive(self):
        first, size = self.file.read(2)
        if size == 126:
            size, = struct.unpack("!H", self.file.read(2))
        elif size == 127:
            size, = struct.unpack("!Q", self.file.read(8))
        assert first & 128, "a fragment"
        return first & 15, self.file.read(size)

    def echo(self, opcode, data):
        self.send(opcode, data)
        assert self.receive() == (opcode, data)

    def close(self):
        self.send(CLOSE, struct.pack("!H", 1000))
        tap.equal(self.receive(), (CLOSE, struct.pack("!H", 1000)))
        tap.equal(self.file.read(1), b"")
        self.sock.close()


@tap.case
def messages_of_every_size_come_back():
    with tap.server(program) as port:
        client = Client(port)
        for size in [0, 1, 125, 126, 65535, 65536, 1000000]:
            client.echo(BINARY, os.urandom(size))
        client.echo(TEXT, "Grüße".encode())
        client.close()


@tap.case
def fragments_come_back_as_one_message():
    with tap.server(program) as port:
        client = Client(port)
        client.send(TEXT, b"one, ", fin=False)
        client.send(0, b"two, ", fin=False)
        client.send(PING, b"still there?")
        client.send(0, b"three")
        tap.equal(client.receive(), (PONG, b"still there?"))
        tap.equal(client.receive(), (TEXT, b"one, two, three"))
        client.close()


@tap.case
def many_messages_before_the_first_is_read_come_back_in_order():
    with tap.server(program) as port:
        client = Client(port)

        def send_all():
            for i in range(300):
                client.send(BINARY, struct.pack("!I", i) * 5000)

        sender = threading.Thread(target=send_all)
        sender.start()
        for i in range(300):
            opcode, data = client.receive()
            assert (opcode, data) == (BINARY, struct.pack("!I", i) * 5000), i
        sender.join()
        client.close()


@tap.case
def a_hundred_clients_talk_at_once():
    with tap.server(program) as port:
        clients = [Client(port) for _ in range(100)]
        for turn in range(10):
            for i, client in enumerate(clients):
                client.send(TEXT, b"%d %d" % (turn, i))
            for i, client in enumerate(clients):
                tap.equal(client.receive(), (TEXT, b"%d %d" % (turn, i)))
        for client in clients:
            client.close()


@tap.case
def what_breaks_the_protocol_is_closed():
    with tap.server(program) as port:
        client = Client(port)
        client.sock.sendall(b"\x81\x05hello")  # clients must mask
        opcode, reason = client.receive()
        tap.equal((opcode, reason[:2]), (CLOSE, struct.pack("!H", 1002)))

        client = Client(port)
        # The beginning says that it is too long; bytes the server never reads would make
        # the kernel answer with a reset, and drop the reason.
        client.sock.sendall(bytes([0x80 | BINARY, 0x80 | 127]) + struct.pack("!Q", 2000000) +
                            bytes(1000))
        opcode, reason = client.receive()
        tap.equal((opcode, reason[:2]), (CLOSE, struct.pack("!H", 1009)))


@tap.case
def a_plain_http_request_is_told_to_upgrade():
    with tap.server(program) as port:
        with socket.create_connection(("127.0.0.1", port), tap.LIMIT) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.makefile("rb").read().startswith(b"HTTP/1.1 426 ")


@tap.case
def it_stops_while_clients_are_connected():
    with tap.server(program) as port:
        clients = [Client(port) for _ in range(10)]
        clients[0].echo(TEXT, b"here")
    for client in clients:
        client.sock.close()


@tap.case
def it_stops_after_the_messages_it_was_told():
    with tap.server(program, "--requests", "2") as port:
        client = Client(port)
        client.echo(TEXT, b"one")
        client.echo(TEXT, b"two")
        tap.equal(client.file.read(), b"")


@tap.case
def help_is_there():
    assert "usage:" in tap.run(program, "--help")
    tap.run(program, "what", status=2)


tap.main()
