"""Processes that do not outlive the one that started them, however it ends."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Let this process end when the one that started it was killed: it would wait or work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None, "only a started process has a parent"
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
