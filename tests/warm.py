"""Processes for tests that begin with what takes long to import: forked, not started anew.

Snakemake, torch and what comes with them take seconds of every job. `python -IS warm.py …` does what
`python …` would, in a fork of a process that has imported them: a server, which a test's first call of
`python()` starts and which ends with that test session. This library is not in it, for each copy of
the workflow has its own. What tests kill, or a cluster starts, is started anew; with FRUGALVIT_FRESH=1
everything is, as on other systems than Linux.

Run as a program, this file is the client, which imports hardly anything.
"""

import json
import os
import signal
import socket
import sys

ADDRESS = "FRUGALVIT_WARM"  # variable: where the server listens
SERVE = "--serve"
IMPORTED = (
    "snakemake.cli", "snakemake.script", "snakemake.executors.local", "snakemake.dag",
    "snakemake.report.html_reporter", "snakemake_executor_plugin_slurm", "jsonschema", "pandas",
    "torch", "torchvision.transforms.v2", "torch.utils.tensorboard",
    "torch.nn.attention", "lightning_fabric", "torchmetrics.functional.classification",
    "safetensors.torch", "safetensors.numpy", "tqdm", "psutil", "PIL.Image", "matplotlib.figure",
    "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg", "sklearn.datasets",
    "sklearn.linear_model", "sklearn.model_selection", "sklearn.neighbors", "sklearn.pipeline",
    "sklearn.preprocessing", "sklearn.svm",
)  # fmt: skip


def python(*words: str) -> list[str]:
    """The command that does what `python {words}` does; it wants the variables of `variables()`."""
    return [sys.executable, *(() if _fresh() else ("-IS", __file__)), *words]


def variables() -> dict[str, str]:
    """By which a command of `python()` finds this session's server, started with the first call."""
    return {} if _fresh() else {ADDRESS: _server()}


def _fresh() -> bool:
    """Whether all processes are started anew; elsewhere than on Linux forks of much are unsafe."""
    return bool(os.environ.get("FRUGALVIT_FRESH")) or sys.platform != "linux"


def forkserver():
    """Multiprocessing's context whose processes are forked off one that has imported what takes long.

    Not the library: that process does not see pytest's path, and might find another copy installed.
    """
    import multiprocessing

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torchvision", "torch.utils.tensorboard",
                                    "lightning_fabric", "pandas"])  # fmt: skip
    return context


def _server() -> str:
    import subprocess

    if ADDRESS in os.environ:  # of the test session that called this process
        return os.environ[ADDRESS]
    if not _started:
        process = subprocess.Popen(
            [sys.executable, __file__, SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
        )
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        assert address, "the server did not start"
        _started.extend([address, process])
    return _started[0]


_started: list = []  # the server's address, and its process


def ask(words: list[str]) -> int:
    """Have the server run `python {words}` with this process's folder, variables and streams.

    Returns:
        Its exit code, negative where a signal ended it.
    """
    request = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()  # noqa: PTH109
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[ADDRESS])
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(request)
        answer = connection.recv(8)
    return int.from_bytes(answer, "big", signed=True) if answer else -signal.SIGKILL


def serve() -> None:
    """Answer until standard input is closed, as it is when the process that started this one ends."""
    import gc
    import importlib
    import select
    import shutil
    import tempfile

    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else each fork's first collection would copy every page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks that answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ends what was asked for, and the test session
    folder = tempfile.mkdtemp(prefix="warm-")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen(64)
        print(f"{folder}/socket", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if listener not in ready:
                shutil.rmtree(folder)
                return
            connection, _ = listener.accept()
            if not os.fork():
                break
            connection.close()
    answer(connection)


def answer(connection: socket.socket) -> None:
    """In a fork: fork once more for what is asked, and tell how that one ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    request = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    if process := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        connection.sendall(code.to_bytes(8, "big", signed=True))
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    run(*json.loads(request))


def run(words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Do what `python {words}` does once it has started."""
    import runpy
    import shlex
    from pathlib import Path

    import numpy as np

    signal.signal(signal.SIGINT, signal.default_int_handler)
    np.random.seed()  # as a process that is started anew, which draws its own
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    searched = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    if words[0] == "-m":
        sys.path[:1] = [folder, *searched]
        # Snakemake puts it before a job's script, in a command of the shell's.
        sys.executable = shlex.join(python())
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        script = Path(words[0]).resolve()
        sys.path[:1] = [str(script.parent), *searched]
        sys.argv = words
        runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        serve()
    else:
        code = ask(sys.argv[1:])
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code)
