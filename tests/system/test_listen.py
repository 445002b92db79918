#!/usr/bin/env python3
"""Listeners beyond the Unix socket: TCP, TLS and WebSocket, tokens and certificates."""
import hashlib
import contextlib
import json
import os
import socket
import ssl
import struct
import subprocess

import daemon

TOKEN = "correct horse"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(d, *args):
    got = subprocess.run(["openssl", *args], cwd=d.dir, capture_output=True, text=True,
                         timeout=daemon.LIMIT)
    assert got.returncode == 0, got.stderr


def _authority(d, name):
    _openssl(d, "req", "-x509", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem",
             "-days", "2", "-subj", f"/CN={name}")


def _certificate(d, name, authority, host):
    """NAME.key and NAME.pem for a host, signed; NAME.both for --tls-cert."""
    _openssl(d, "req", "-new", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr",
             "-subj", f"/CN={host}")
    with open(f"{d.dir}/ext", "w") as f:
        f.write(f"subjectAltName=DNS:{host}\n")
    _openssl(d, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
             f"{authority}.key", "-CAcreateserial", "-days", "2", "-extfile", "ext",
             "-out", f"{name}.pem")
    with open(f"{d.dir}/{name}.both", "w") as both:
        for part in (f"{name}.pem", f"{name}.key"):
            with open(f"{d.dir}/{part}") as f:
                both.write(f.read())


def _tokens():
    return (f"tokens: [{{name: t, sha256: {hashlib.sha256(TOKEN.encode()).hexdigest()}, "
            "access: admin}]\n")


def _refused(got, what):
    assert got.returncode == 4 and what in got.stderr and got.stderr.count("\n") == 1, got


def _token_decides(d, url, *options):
    _refused(d.ctl(*options, "ping", url=url), "a token is needed")
    _refused(d.ctl(*options, "--token", "wrong", "ping", url=url), "not one of ours")
    got = d.ctl(*options, "--token", TOKEN, "submit", "sum", "2", "3", "--wait", url=url)
    assert (got.returncode, got.stdout) == (0, "5\n"), got
    with open(f"{d.dir}/token", "w") as f:
        f.write(TOKEN + "\n")
    got = d.ctl(*options, "--token-file", f"{d.dir}/token", "ping", url=url)
    assert got.returncode == 0, got


def tcp_and_websockets_need_a_token(d):
    urls = [f"tcp://127.0.0.1:{daemon.free_port()}", f"ws://127.0.0.1:{daemon.free_port()}/rpc"]
    d.configure(_tokens(), urls)
    d.start()
    for url in urls:
        _token_decides(d, url)
    assert d.ctl("ping").returncode == 0  # on the Unix socket the user is known


def tls_shows_who_the_daemon_is_and_hides_the_token(d):
    _authority(d, "ours")
    _authority(d, "theirs")
    _certificate(d, "server", "ours", "jobs.example")
    url = f"tls+tcp://127.0.0.1:{daemon.free_port()}"
    d.configure(_tokens() + f"tls: {{cert: {d.dir}/server.pem, key: {d.dir}/server.key}}",
                [url])
    d.start()
    named = ("--tls-name", "jobs.example")
    _token_decides(d, url, "--tls-ca", f"{d.dir}/ours.pem", *named)
    for options in (("--tls-ca", f"{d.dir}/theirs.pem", *named),
                    ("--tls-ca", f"{d.dir}/ours.pem", "--tls-name", "other.example"),
                    ("--tls-ca", f"{d.dir}/ours.pem"), named):
        got = d.ctl(*options, "--token", TOKEN, "ping", url=url)
        assert got.returncode == 3 and "certificate" in got.stderr, (options, got)
    got = d.ctl("--tls-ca", f"{d.dir}/none.pem", "ping", url=url)
    assert got.returncode == 2 and "none.pem" in got.stderr, got


def clients_may_have_to_show_a_certificate(d):
    _authority(d, "ours")
    _authority(d, "theirs")
    _certificate(d, "server", "ours", "jobs.example")
    _certificate(d, "client", "ours", "client.example")
    _certificate(d, "stranger", "theirs", "client.example")
    url = f"tls+tcp://127.0.0.1:{daemon.free_port()}"
    d.configure(_tokens() + f"tls: {{cert: {d.dir}/server.pem, key: {d.dir}/server.key, "
                            f"ca: {d.dir}/ours.pem}}", [url])
    d.start()
    options = ("--tls-ca", f"{d.dir}/ours.pem", "--tls-name", "jobs.example", "--token", TOKEN)
    got = d.ctl(*options, "--tls-cert", f"{d.dir}/client.both", "ping", url=url)
    assert got.returncode == 0, got
    for own in ((), ("--tls-cert", f"{d.dir}/stranger.both")):
        p = d.ctl_start(*options, *own, "ping", url=url)
        said = p.stderr.readline()  # refused at once, or when it believed to be in
        assert "not reachable" in said or "the connection to the daemon broke" in said, said
        p.kill()
        p.communicate()


def strangers_at_the_door_hold_nobody_up(d):
    """Port scanners and the like: they leave, reset, or speak another protocol."""
    _authority(d, "ours")
    _certificate(d, "server", "ours", "jobs.example")
    ports = [daemon.free_port() for _ in range(3)]
    tcp, tls, ws = (f"{scheme}://127.0.0.1:{port}" for scheme, port in
                    zip(("tcp", "tls+tcp", "ws"), ports))
    d.configure(_tokens() + f"tls: {{cert: {d.dir}/server.pem, key: {d.dir}/server.key}}",
                [tcp, tls, ws + "/rpc"])
    d.start()
    trust = ssl.create_default_context(cafile=f"{d.dir}/ours.pem")
    for port in ports:
        for say in (b"", b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n"):
            for linger in (0, 1):
                for _ in range(5):
                    s = socket.create_connection(("127.0.0.1", port))
                    s.sendall(say)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", linger, 0))
                    if linger:
                        with contextlib.suppress(OSError):  # it may have hung up already
                            s.shutdown(socket.SHUT_WR)
                    s.close()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", ports[1])) as s:
            with trust.wrap_socket(s, server_hostname="jobs.example") as t:
                t.sendall(b"\xff" * 100)
    named = ("--tls-ca", f"{d.dir}/ours.pem", "--tls-name", "jobs.example")
    for url, options in ((tcp, ()), (tls, named), (ws + "/rpc", ())):
        got = d.ctl(*options, "--token", TOKEN, "ping", "--json", url=url)
        assert got.returncode == 0 and json.loads(got.stdout)["epoch"] == 1, (url, got)


def what_cannot_be_listened_on_is_said(d):
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    d.configure(_tokens(), [f"tcp://127.0.0.1:{port}"])
    code, err = d.refuses_to_start()
    assert code == 1 and f"tcp://127.0.0.1:{port}: another process listens there" in err, err
    taken.close()
    d.configure(_tokens() + f"tls: {{cert: {d.dir}/none.pem, key: {d.dir}/none.key}}",
                [f"tls+tcp://127.0.0.1:{port}"])
    code, err = d.refuses_to_start()
    assert code == 1 and "none.pem" in err and "No such file" in err, err
    for name in ("cert", "key"):
        with open(f"{d.dir}/{name}", "w") as f:
            f.write("nonsense\n")
    d.configure(_tokens() + f"tls: {{cert: {d.dir}/cert, key: {d.dir}/key}}",
                [f"tls+tcp://127.0.0.1:{port}"])
    code, err = d.refuses_to_start()
    assert code == 1 and "are no certificate and its key" in err, err
    d.configure("", [f"tcp://127.0.0.1:{port}"])
    code, err = d.refuses_to_start()
    assert code == 78 and f"{d.config}:2:" in err and "needs a token" in err, err
    d.configure(_tokens(), [f"tcp://0.0.0.0:{port}"])
    code, err = d.refuses_to_start()
    assert code == 78 and "use tls+tcp://" in err, err
    missing = os.path.join(d.dir, "no/such")
    d.url = f"ipc://{missing}/s.sock"
    d.configure("")
    code, err = d.refuses_to_start()
    assert code == 1 and f"cannot make {missing}: No such file" in err, err


if __name__ == "__main__":
    daemon.main(daemon.sentences(globals()))
