"""usage: http_fetch.py PROGRAM STATIC_SERVER"""
import os
import socket
import sys
import tempfile

import tap

program, static_server = sys.argv[1:]


@tap.case
def fetches_a_hundred_urls_at_once():
    with tempfile.TemporaryDirectory() as folder:
        for i in range(100):
            with open(os.path.join(folder, f"{i}.txt"), "wb") as file:
                file.write(b"x" * (i * i * 20))
        with tap.server(static_server, folder) as port:
            urls = [f"http://127.0.0.1:{port}/{i}.txt" for i in range(100)]
            got = tap.run(program, *urls).splitlines()
    want = [f"200 {i * i * 20:8} bytes  {url}" for i, url in enumerate(urls)]
    tap.equal(sorted(got[:-1]), sorted(want))
    tap.equal(got[-1], "100 of 100 fetched")


@tap.case
def one_processor_is_enough():
    with tap.server(static_server, os.path.dirname(program)) as port:
        urls = [f"http://127.0.0.1:{port}/?{i}" for i in range(20)]
        got = tap.run(program, "--parallel", "3", *urls,
                      env={**os.environ, "GOMAXPROCS": "1"})
    tap.equal(got.splitlines()[-1], "20 of 20 fetched")


@tap.case
def failures_are_told():
    with tap.server(static_server, os.path.dirname(program)) as port:
        got = tap.run(program, f"http://127.0.0.1:{port}/no/such/file", status=1)
    tap.equal(got.splitlines()[-1], "0 of 1 fetched")
    assert got.startswith("404 "), got

    with socket.socket() as free:  # bound, and nobody listens
        free.bind(("127.0.0.1", 0))
        got = tap.run(program, f"http://127.0.0.1:{free.getsockname()[1]}/", "file:///etc/passwd",
                      status=1)
    assert "failed: Couldn't connect" in got and "failed: Unsupported protocol" in got, got


@tap.case
def a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        got = tap.run(program, "--timeout", "1",
                      f"http://127.0.0.1:{silent.getsockname()[1]}/", status=1)
    assert got.startswith("failed: Timeout"), got


@tap.case
def help_is_there():
    assert "usage:" in tap.run(program, "--help")
    tap.run(program, status=2)


tap.main()
