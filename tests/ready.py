"""Processes that run `polyalign` and need not import what it imports: they fork from one that has.

`python ready.py FD` is that one. It computes nothing, so that what forks from it has no threads, and each command has
a process, an environment and a working folder of its own, as where a shell starts it.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# Room for the environment.
_MESSAGE = 1 << 20
#: What commands import when they need it, but for torch.
IMPORTED = ["numpy", "pyarrow.parquet", "rich.progress", "rich.table", "polyalign.critics", "polyalign.pairs"]


class Ready:
    """A process that is ready to become `polyalign`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Each message is one packet.
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=dict(environment), stdin=subprocess.DEVNULL
            )

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `polyalign`, with no input; what it writes goes to files, as a shell redirects it."""
        told = json.dumps({"arguments": arguments, "folder": str(folder), "environment": dict(environment)})
        with Path(os.devnull).open("rb") as empty, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            streams = [empty.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(self._socket, [told.encode()], streams)
            self._socket.settimeout(120)
            code = int(self._socket.recv(_MESSAGE))
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8"))
        return subprocess.CompletedProcess(["polyalign", *arguments], code, *texts)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(timeout=60)


def _serve(listening: socket.socket) -> None:
    """Fork for each message, and return in what was forked, as that which the message asks for."""
    while True:
        message, streams, _, _ = socket.recv_fds(listening, _MESSAGE, 3)
        if not message:
            os._exit(0)
        child = os.fork()
        if child == 0:
            break
        for stream in streams:
            os.close(stream)
        listening.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    listening.close()
    told = json.loads(message)
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.argv = ["polyalign", *told["arguments"]]


if __name__ == "__main__":
    from polyalign import cli

    for module in pkgutil.iter_modules(cli.__path__, "polyalign.cli."):
        if module.name != "polyalign.cli._training":
            importlib.import_module(module.name)
    for name in IMPORTED:
        importlib.import_module(name)
    _serve(socket.socket(fileno=int(sys.argv[1])))
    cli.main()
