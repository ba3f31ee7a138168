"""A program that has imported the whole forge and forks one of its processes at each request.

A process of the forge spends most of its start on imports. Tests that kill a hundred of them start them from here.
"""

import ctypes
import os
import signal
import sys
from importlib import import_module
from typing import Any

import orjson

import app.cli.main
from app import points

PR_SET_PDEATHSIG = 1


def become(command: dict[str, Any], parent: int) -> None:
    """Turn the present process into one of the forge: `polyforge <name>` with this environment and this log."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(command["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    silence = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((silence, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(command["environment"])
    points.FOLDER = os.environ.get(points.VARIABLE)
    for name, value in command["constants"].items():
        module, _, constant = name.rpartition(".")
        setattr(import_module(module), constant, value)
    sys.argv = ["polyforge", command["name"]]
    app.cli.main.main()


def main() -> None:
    """Fork a process for each line of standard input, and print its id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that have ended need no one to wait for them
    parent = os.getpid()
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                become(orjson.loads(line), parent)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
