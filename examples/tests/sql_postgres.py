"""usage: sql_postgres.py PROGRAM

Starts a PostgreSQL server of its own, on a Unix socket in a temporary folder. The server
refuses to run as root, so root starts it as another user.
"""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile

import tap

program = sys.argv[1]


def server_user():
    """How to become a user that PostgreSQL runs as: keyword arguments for subprocess."""
    if os.geteuid() != 0:
        return {}
    for name in ["postgres", "nobody"]:
        try:
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        except KeyError:
            continue
    raise tap.Skip("no user to run PostgreSQL as")


class Postgres:
    def __init__(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        if not found:
            raise tap.Skip("PostgreSQL is not installed")
        self.bin = os.path.dirname(found[-1])
        self.user = server_user()
        self.folder = tempfile.mkdtemp(prefix="pg")
        if self.user:
            os.chown(self.folder, self.user["user"], self.user["group"])
        self.conninfo = f"host={self.folder} user=test dbname=postgres"
        self.proc = None

    def __enter__(self):
        data = os.path.join(self.folder, "data")
        with open(os.path.join(self.folder, "log"), "w", encoding="utf-8") as log:
            subprocess.run([f"{self.bin}/initdb", "-D", data, "-U", "test", "-A", "trust",
                            "--no-sync", "--locale=C", "-E", "UTF8"], check=True, stdout=log,
                           stderr=log, cwd=self.folder, **self.user)
            self.proc = subprocess.Popen(
                [f"{self.bin}/postgres", "-D", data, "-k", self.folder, "-h", "", "-F"],
                stdout=log, stderr=log, cwd=self.folder, **self.user)
        # pg_isready waits for the server to answer, or for its end.
        while subprocess.run([f"{self.bin}/pg_isready", "-q", "-t", "1", "-h", self.folder],
                             check=False).returncode != 0:
            assert self.proc.poll() is None, self.log()
        return self

    def __exit__(self, *_):
        self.proc.send_signal(signal.SIGINT)  # fast shutdown
        self.proc.wait()
        shutil.rmtree(self.folder)

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as file:
            return file.read()


@tap.case
def results_come_in_the_order_of_the_queries():
    with Postgres() as pg:
        queries = [f"SELECT {i}, sum(n) FROM generate_series(1, {i}) n" for i in range(1, 21)]
        got = tap.run(program, pg.conninfo, *queries)
        tap.equal(got.splitlines(), [f"{i} | {i * (i + 1) // 2}" for i in range(1, 21)])

        big = tap.run(program, pg.conninfo, *["SELECT repeat('x', 1000000)"] * 4,
                      "SELECT n FROM generate_series(1, 50000) n")
        tap.equal([len(line) for line in big.splitlines()[:4]], [1000000] * 4)
        tap.equal(big.splitlines()[4:], [str(n) for n in range(1, 50001)])

        # Each waits in the server until all three have come: on one processor that only
        # works if none of them holds it.
        tap.equal(tap.run(program, pg.conninfo, "CREATE TABLE arrived (id int)"),
                  "CREATE TABLE\n")
        meet = ("DO $$ BEGIN INSERT INTO arrived VALUES (1); COMMIT; "
                "WHILE (SELECT count(*) FROM arrived) < 3 LOOP "
                "PERFORM pg_sleep(0.002); COMMIT; END LOOP; END $$")
        tap.equal(tap.run(program, pg.conninfo, meet, meet, meet,
                          env={**os.environ, "GOMAXPROCS": "1"}), "DO\n" * 3)

        got = tap.run(program, pg.conninfo, "SELECT 1", "SELEKT", "SELECT 1 / 0", status=1)
        tap.equal(got.splitlines(), ["1", 'failed: ERROR:  syntax error at or near "SELEKT"',
                                     "failed: ERROR:  division by zero"])


@tap.case
def a_server_that_is_not_there_is_told():
    with tempfile.TemporaryDirectory() as folder:
        got = tap.run(program, f"host={folder} user=test", "SELECT 1", status=1)
    assert got.startswith("failed: connection to server on socket"), got


@tap.case
def help_is_there():
    assert "usage:" in tap.run(program, "--help")
    tap.run(program, status=2)


tap.main()
