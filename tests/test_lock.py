"""Locks are waited for, and end with the process that holds them."""

import multiprocessing
import os
import threading
import time

from frugalvit.jobs.lock import exclusive

PATIENCE = 60  # seconds; the machine may be busy
PROCESSES = multiprocessing.get_context("fork")


def hold(path, entered):
    with exclusive(path, "a file", note="mine"):
        entered.set()
        time.sleep(PATIENCE)


def test_a_lock_is_waited_for_and_ends_with_its_holder(tmp_path, caplog):
    path, entered = tmp_path / ".a.lock", PROCESSES.Event()
    holder = PROCESSES.Process(target=hold, args=(path, entered))
    holder.start()
    assert entered.wait(PATIENCE)

    def kill_once_waited_for():
        while not caplog.messages and holder.is_alive():
            time.sleep(0.05)
        holder.kill()

    with caplog.at_level("INFO"):
        threading.Thread(target=kill_once_waited_for).start()
        with exclusive(path, "a.csv") as waited:
            assert waited == "mine"
            holder.join(10)
            assert not holder.is_alive()
    told = f"waiting: process {holder.pid} on {os.uname().nodename} already makes a.csv"
    assert [line for line in caplog.messages if told in line]
    assert not path.exists()


def test_a_lock_that_a_killed_process_left_is_no_lock(tmp_path, caplog):
    path = tmp_path / ".a.lock"
    path.write_text('{"pid": 1, "host": "elsewhere", "note": "old"}')
    with caplog.at_level("INFO"), exclusive(path, "a.csv") as waited:
        assert waited is None
    assert not caplog.messages
    assert not path.exists()


def count_up(path, times):
    for _ in range(times):
        with exclusive(path.with_name(".lock"), "the number"):
            number = int(path.read_text())
            time.sleep(0.001)
            path.write_text(str(number + 1))


def test_no_two_processes_are_ever_inside(tmp_path, monkeypatch):
    monkeypatch.setattr("frugalvit.jobs.lock.POLL", 0.0)
    path = tmp_path / "number"
    path.write_text("0")
    counting = [PROCESSES.Process(target=count_up, args=(path, 40)) for _ in range(3)]
    for process in counting:
        process.start()
    for process in counting:
        process.join()
    assert path.read_text() == "120"
