"""usage: static_server.py PROGRAM"""
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading

import tap

program = sys.argv[1]
BIG = bytes(range(256)) * 40000  # 10 MB

folder = tempfile.mkdtemp()
secret = folder + "-secret"


def put(path, content):
    path = os.path.join(folder, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


put("index.html", b"<h1>home</h1>")
put("a.txt", b"text\n")
put("empty.css", b"")
put("sub/page.json", b"{}")
put("sub/with space & <tag>.bin", b"odd")
put("big", BIG)
put("indexed/index.html", b"folder")
with open(secret, "wb") as outside:
    outside.write(b"secret")
os.symlink(secret, os.path.join(folder, "link-out"))
os.symlink("a.txt", os.path.join(folder, "link-in"))
os.mkfifo(os.path.join(folder, "fifo"))


def get(conn, target, method="GET", **headers):
    conn.request(method, target, headers=headers)
    answer = conn.getresponse()
    return answer, answer.read()


def connect(port):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=tap.LIMIT)


def talk(port, data):
    """Send bytes, return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), tap.LIMIT) as sock:
        sock.sendall(data)
        got = b""
        while True:
            more = sock.recv(65536)
            if not more:
                return got
            got += more


@tap.case
def files_come_whole_over_one_connection():
    with tap.server(program, folder) as port:
        conn = connect(port)
        for target, body, kind in [("/a.txt", b"text\n", "text/plain; charset=utf-8"),
                                   ("/empty.css", b"", "text/css; charset=utf-8"),
                                   ("/sub/page.json", b"{}", "application/json"),
                                   ("/big", BIG, "application/octet-stream"),
                                   ("/link-in", b"text\n", "application/octet-stream"),
                                   ("/a%2Etxt?query", b"text\n", "text/plain; charset=utf-8")]:
            answer, got = get(conn, target)
            tap.equal((target, answer.status, answer.getheader("Content-Type")),
                      (target, 200, kind))
            assert got == body, f"{target}: {len(got)} bytes"
            assert answer.getheader("Date", "").endswith(" GMT")
            sock = sock if target != "/a.txt" else conn.sock
            assert conn.sock is sock, "the connection was not kept"


@tap.case
def folders_show_their_index_or_their_files():
    with tap.server(program, folder) as port:
        conn = connect(port)
        tap.equal(get(conn, "/")[1], b"<h1>home</h1>")
        tap.equal(get(conn, "/indexed/")[1], b"folder")
        answer, page = get(conn, "/sub/")
        tap.equal(answer.getheader("Content-Type"), "text/html; charset=utf-8")
        assert b'href="./with%20space%20%26%20%3Ctag%3E.bin"' in page, page
        assert b">with space &#38; &#60;tag&#62;.bin<" in page, page
        tap.equal(get(conn, "/sub/with%20space%20%26%20%3Ctag%3E.bin")[1], b"odd")
        answer, _ = get(conn, "/sub")
        tap.equal((answer.status, answer.getheader("Location")), (301, "/sub/"))
        answer, _ = get(conn, "//sub?q")
        tap.equal((answer.status, answer.getheader("Location")), (301, "/sub/"))


@tap.case
def head_is_get_without_the_body():
    with tap.server(program, folder) as port:
        conn = connect(port)
        for target in ["/a.txt", "/big", "/sub/", "/sub", "/none"]:
            want, body = get(conn, target)
            got, nothing = get(conn, target, "HEAD")
            tap.equal((got.status, got.getheader("Content-Length"), nothing),
                      (want.status, str(len(body)), b""))


@tap.case
def nothing_outside_the_folder_is_reached():
    name = os.path.basename(secret)
    with tap.server(program, folder) as port:
        for target in [f"/../{name}", f"/%2e%2e/{name}", f"/sub/../../{name}", "/link-out",
                       f"//..//{name}", f"/{secret}", "/../../../../etc/passwd",
                       "/proc/self/root/etc/passwd"]:
            answer = talk(port, f"GET {target} HTTP/1.0\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 404 "), (target, answer)
            assert b"secret" not in answer.split(b"\r\n\r\n")[1], target


@tap.case
def what_is_no_file_and_no_request_is_refused():
    with tap.server(program, folder) as port:
        for request, status in [
                (b"GET /none HTTP/1.0\r\n\r\n", 404),
                (b"GET /a.txt/ HTTP/1.0\r\n\r\n", 404),
                (b"GET /fifo HTTP/1.0\r\n\r\n", 403),
                (b"POST / HTTP/1.0\r\n\r\n", 405),
                (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405),
                (b"GET / HTTP/1.1\r\n\r\n", 400),
                (b"GET a.txt HTTP/1.0\r\n\r\n", 400),
                (b"GET /%00 HTTP/1.0\r\n\r\n", 400),
                (b"GET /%4 HTTP/1.0\r\n\r\n", 400),
                (b"GET / HTTP/2.0\r\n\r\n", 400),
                (b"GET  / HTTP/1.0\r\n\r\n", 400),
                (b"hello\r\n\r\n", 400),
                (b"GET / HTTP/1.0\r\nbad header\r\n\r\n", 400),
                (b"GET / HTTP/1.0\r\n folded: 1\r\n\r\n", 400),
                (b"GET / HTTP/1.0\r\na\0: b\r\n\r\n", 400),
                (b"GET / HTTP/1.0\r\n" + b"a: b\r\n" * 100 + b"\r\n", 431),
                (b"GET /" + b"x" * 10000 + b" HTTP/1.0\r\n\r\n", 431)]:
            answer = talk(port, request)
            assert answer.startswith(b"HTTP/1.1 %d " % status), (request[:60], answer[:200])


@tap.case
def requests_in_one_packet_are_answered_in_order():
    with tap.server(program, folder) as port:
        answer = talk(port, b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"
                            b"GET http://a/sub/page.json HTTP/1.1\r\nHost: a\r\n\r\n"
                            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        bodies = [part.rsplit(b"\r\n\r\n", 1)[1] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
        tap.equal(bodies, [b"text\n", b"{}", b"<h1>home</h1>"])


@tap.case
def two_hundred_clients_at_once_are_served():
    def client(port, wrong):
        conn = connect(port)
        for i in range(20):
            answer, body = get(conn, "/big" if i == 10 else "/a.txt")
            if answer.status != 200 or body != (BIG if i == 10 else b"text\n"):
                wrong.append(answer.status)

    wrong = []
    with tap.server(program, folder) as port:
        clients = [threading.Thread(target=client, args=(port, wrong)) for _ in range(200)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
    tap.equal(wrong, [])


@tap.case
def it_stops_while_connections_are_open():
    with tap.server(program, folder) as port:
        idle = [connect(port) for _ in range(10)]
        for conn in idle:
            get(conn, "/a.txt")
        half = socket.create_connection(("127.0.0.1", port))
        half.sendall(b"GET /a.t")
    # The server has ended, status 0: every idle connection sees its end.
    for conn in idle:
        tap.equal(conn.sock.recv(1), b"")
    half.close()


@tap.case
def it_stops_after_the_requests_it_was_told():
    proc = subprocess.Popen([program, "--port", "0", "--requests", "3", folder],
                            stdout=subprocess.PIPE, text=True)
    conn = connect(int(proc.stdout.readline().rsplit(":", 1)[1]))
    for _ in range(3):
        tap.equal(get(conn, "/a.txt")[1], b"text\n")
    tap.equal(proc.wait(tap.LIMIT), 0)
    proc.stdout.close()


@tap.case
def bad_arguments_are_refused_and_help_is_there():
    assert "usage:" in tap.run(program, "--help")
    tap.run(program, "a", "b", status=2)
    tap.run(program, "--port", "0", "/does/not/exist", status=1)
    tap.run(program, "--port", "0", "--host", "nowhere", status=1)


tap.main()
