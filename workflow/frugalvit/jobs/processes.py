"""Several processes that work as one: started together, heard once, ended together."""

import logging
import multiprocessing
import re
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch.multiprocessing.spawn import ProcessException

from frugalvit import errors
from frugalvit.devices.fabric import Fabric
from frugalvit.files import read_json, write_json
from frugalvit.jobs.parent import end_with_parent
from frugalvit.jobs.run import mistake, start_log


def launch(fabric: Fabric, function: Callable, *arguments: Any, **options: Any) -> None:
    """Call `function(fabric, *arguments, **options)` in each of the fabric's processes.

    A single process is this one. Of several, the first writes to this process's log; when one fails
    all end.

    Raises:
        FrugalError: as the function raised it, or a process was killed.
        RuntimeError: a process failed in another way; its traceback is the message.
    """
    if fabric.world_size == 1:
        function(fabric, *arguments, **options)
        return
    with tempfile.TemporaryDirectory() as folder:
        failures = Path(folder)
        threads = max(1, torch.get_num_threads() // fabric.world_size)
        # One object: the launcher would look into dataclasses for modules, and refuses frozen ones.
        call = partial(_call, function, arguments, options)
        try:
            method = multiprocessing.get_start_method()
            process = cast(Callable[..., None], _process)  # launch's type knows no arguments
            fabric.launch(process, _log_file(), failures, threads, method, call)
        except ProcessException as error:
            for failure in sorted(failures.glob("*.json")):
                kind, message = read_json(failure)
                raise getattr(errors, kind)(message) from None
            # Who waits for a process that was killed may be heard before the killed one is noticed.
            signal = getattr(error, "signal_name", None)
            if signal or re.search(r"Connection (closed|reset) by peer", str(error)):
                raise errors.TrainingError(
                    f"a training process was killed ({signal or 'its peers lost it'}), most often for "
                    "want of memory: lower training.batch_size, or free memory and run again; it goes "
                    "on from its last epoch"
                ) from None
            raise RuntimeError(f"a training process failed: {error}") from None


def _process(
    fabric: Fabric,
    log_file: str | None,
    failures: Path,
    threads: int,
    start_method: str,
    call: Callable,
) -> None:
    # Called by the processes' launcher, which pickles results into a pipe that holds 64 KB: none here.
    end_with_parent()
    torch.set_num_threads(threads)
    # A spawned process would spawn the loader's workers too, each with torch to import.
    multiprocessing.set_start_method(start_method, force=True)
    # One-element dimensions, whose strides mean nothing: a hint that is none.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    if fabric.is_global_zero:
        start_log(log_file)
    else:
        logging.disable(logging.WARNING)
    try:
        call(fabric)
    except Exception as error:
        told = mistake(error)
        if told is None:
            raise
        # An exception reaches the parent as text alone. The first to end has the others ended, in
        # the midst of writing perhaps.
        write_json(failures / f"{fabric.global_rank}.json", [type(told).__name__, str(told)])
        raise


def _call(function: Callable, arguments: tuple, options: dict, fabric: Fabric) -> None:
    function(fabric, *arguments, **options)


def _log_file() -> str | None:
    """The file that this process logs to."""
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.FileHandler:  # not a tool's own kind
            return handler.baseFilename
    return None
