"""A process whose Ray has ended says so in one line, and ends."""

import socket
import subprocess
import sys
from pathlib import Path

from refinemask.batch.lost import Server, watched
from refinemask.exit_codes import BAD_INPUT

ROOT = Path(__file__).resolve().parents[3]
WATCHING = """
import sys, time
from refinemask.batch import lost

lost.TICK = 0.05
servers = [lost.Server(what="head", host="127.0.0.1", port=int(port), patience=0.2) for port in sys.argv[1:]]
with lost.watched(servers):
    print("begun", flush=True)
    time.sleep(60)
"""


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_the_end_of_one_of_the_servers_ends_the_process_with_one_line() -> None:
    with listening() as stays, listening() as goes:
        ports = [str(each.getsockname()[1]) for each in (stays, goes)]
        command = [sys.executable, "-c", WATCHING, *ports]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            goes.close()
            _, said = process.communicate(timeout=30)
    assert process.returncode == BAD_INPUT
    [line] = said.splitlines()
    assert line == "error: Ray's head has ended; give the same command again, which goes on from here"


def test_nothing_is_said_of_servers_that_end_after_the_block() -> None:
    with listening() as server:
        watching = Server(what="head", host="127.0.0.1", port=server.getsockname()[1], patience=0.0)
        with watched([watching]):
            assert watching.answers()
    assert not watching.answers()
