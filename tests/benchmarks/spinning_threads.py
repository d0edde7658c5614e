"""OpenMP threads that spin while they wait, against threads that soon sleep (`jobs.run.WAITING`).

Child processes with one setting each take turns, on an idle machine and beside a process that keeps a
core busy; ratios are of neighbours in time, and above 1 where a setting is faster than OpenMP's default.
About twenty minutes on a machine with nothing else to do.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager

from frugalvit.jobs.run import WAITING
from frugalvit.provenance import environment
from tests.workflows import ROOT

ROUNDS, SECONDS = 5, 1.0
SETTINGS = {
    "default": {},
    "as jobs have it": WAITING,
    "asleep": WAITING | {"GOMP_SPINCOUNT": "0"},
}
# Architecture, batch, whether it trains: a small model waits most often for its time.
WORK = {
    "embedded study, training, batch 32": ("digits", 32, True),
    "embedded study, one image": ("digits", 1, False),
    "ViT-S/16, training, batch 8": ("vit_small", 8, True),
    "ViT-S/16, one image": ("vit_small", 1, False),
}
BESIDE = (0, 1)  # processes that keep a core busy
THREADS = (1, 2)


def measure(threads: int) -> dict[str, float]:
    """Median seconds a call of each kind of work; torch is loaded here, under the child's settings."""
    import torch

    from frugalvit.models.architectures import named_architecture
    from frugalvit.models.backbone import build

    torch.set_num_threads(threads)
    digits = json.loads((ROOT / "config/bases/digits/card.json").read_text())["architecture"]
    found = {}
    for name, (architecture, batch, trains) in WORK.items():
        shape = digits if architecture == "digits" else named_architecture(architecture)
        model = build(shape, 10).train(trains)
        images = torch.randn(batch, 3, shape["image_size"], shape["image_size"])
        optimizer = torch.optim.AdamW(model.parameters())
        times: list[float] = []
        while len(times) < 6 or sum(times) < SECONDS:
            started = time.perf_counter()
            with torch.set_grad_enabled(trains):
                loss = model(images).logsumexp(dim=1).mean()
            if trains:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            times.append(time.perf_counter() - started)
        found[name] = statistics.median(times[1:])
    return found


def child(setting: str, threads: int) -> dict[str, float]:
    """What a process under a setting measures."""
    kept = {key: value for key, value in os.environ.items() if key not in WAITING}
    env = kept | SETTINGS[setting] | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "tests.benchmarks.spinning_threads", str(threads)]
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def busy(processes: int):
    """Processes beside, each of which keeps a core busy."""
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    """Print the table."""
    settings = list(SETTINGS)[1:]
    cores = len(os.sched_getaffinity(0))
    print(
        f"\nTime of a call by default over its time with a setting, median of {ROUNDS} rounds; "
        f"{cores} cores, {environment()['processor']}\n\n"
        f"| busy beside | threads | work | default, ms | {' | '.join(settings)} |\n"
        f"|---|---|---|---|{'---|' * len(settings)}"
    )
    for beside, threads in itertools.product(BESIDE, THREADS):
        with busy(beside):
            rounds = [{name: child(name, threads) for name in SETTINGS} for _ in range(ROUNDS)]
        for work in WORK:
            usual = 1e3 * statistics.median(each["default"][work] for each in rounds)
            ratios = [
                statistics.median(each["default"][work] / each[name][work] for each in rounds)
                for name in settings
            ]
            shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| {beside} | {threads} | {work} | {usual:.1f} | {shown} |", flush=True)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
