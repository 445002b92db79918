"""usage: file_read.py PROGRAM"""
import os
import subprocess
import sys
import tempfile

import tap

program = sys.argv[1]


@tap.case
def counts_the_lines_and_bytes_of_many_files():
    with tempfile.TemporaryDirectory() as folder:
        paths, want = [], []
        for i in range(200):
            path = os.path.join(folder, f"f{i}")
            text = "some text\n" * i + "x" * (i % 3)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            paths.append(path)
            want.append(f"{i:6} lines {len(text):8} bytes  {path}")
        tap.equal(tap.run(program, *paths).splitlines(), want)


@tap.case
def an_error_names_its_file_and_is_the_result():
    done = subprocess.run([*tap.WRAPPER, program, program, "/does/not/exist"], capture_output=True,
                          text=True, timeout=tap.LIMIT, check=False)
    tap.equal((done.returncode, done.stdout, done.stderr),
              (1, "", "file_read: /does/not/exist: No such file or directory\n"))


@tap.case
def help_is_there():
    assert "usage:" in tap.run(program, "--help")
    assert "usage:" in tap.run(program, status=2)


tap.main()
