"""Run a study unbroken and with kills, compare, and print what happened; exit code 1 on a difference."""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from frugalvit.methods.registry import method
from tests.chaos import aims
from tests.chaos.compare import SUFFIXES, differences, files_of
from tests.chaos.killing import KINDS, Call, end_earlier, end_orphans
from tests.chaos.studies import STUDIES, Study
from tests.workflows import snakemake

TICK = 0.05  # seconds
ORPHANS = 600.0  # seconds that jobs which outlived their Snakemake get to end
SHARE = 0.85  # of the study's jobs, over which the kills are spread, so that all happen
JOB = re.compile(r"(?m)^(?:local)?rule (\w+):\n(?:    .*\n)*?    output: ([^,\n]+)")


@dataclass
class State:
    """What has happened so far, kept in the folder so that the whole can be stopped and goes on."""

    study: str
    seed: int
    # After how many jobs, and which kind: 7.5 is half a job's time after the seventh was begun. Not
    # after so many seconds, which another load of the machine would put behind the end.
    kills: list[tuple[float, str]]
    jobs: int = 0  # of the study
    unbroken: float = 0.0  # seconds
    done: list[str] = field(default_factory=list)
    left: list[aims.Aim] = field(default_factory=list)  # that are left
    aimed: list[str] = field(default_factory=list)  # kinds of the aimed kills that are done
    killed: list[str] = field(default_factory=list)  # scripts, one a kill that met any
    elapsed: float = 0.0  # seconds in which Snakemake ran, over all calls
    identity: list[float] | None = None
    finished: bool = False


def main() -> int:
    """Returns the exit code."""
    options = parse()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="frugalvit-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    study = STUDIES[options.study]
    say(folder, f"{options.study} study, {options.kills} kills, seed {options.seed}, in {folder}")
    state = load_state(folder, options)
    for copy in ("broken", *(() if options.reference else ("unbroken",))):
        study.write(folder / copy, options.cores)
    reference = options.reference
    if reference is None:
        reference = study.results(folder / "unbroken")
        if not state.unbroken:
            state.unbroken = run_unbroken(folder, study, options.cores)
    elif not state.unbroken:
        state.unbroken = options.expected or span(reference)
    if not state.kills:
        state.jobs = jobs_of(folder / "broken", study.write(folder / "broken", options.cores))
        state.left = aims.draw(int(options.kills * aims.SHARE), options.seed)
        state.kills = draw(options.kills - len(state.left), state.jobs * SHARE, options.seed)
    save_state(folder, state)
    until = f"kills in the first {SHARE:.0%} of {state.jobs} jobs"
    say(folder, f"unbroken: {state.unbroken:.0f} s; {until}")
    run_broken(folder, study, state, options.cores)
    found = differences(reference, study.results(folder / "broken"))
    if (
        data := reference.parents[1] / "data"
    ).is_dir():  # images as they were downloaded and prepared
        found += differences(data, folder / "broken" / "data")
    if (happened := len(state.done) + len(state.aimed)) < options.kills:
        found.append(f"only {happened} of {options.kills} kills happened")
    say(folder, summary(folder, study, state, files_of(reference), found))
    return 1 if found else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--study", choices=STUDIES, default="embedded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="of copies, state and log; goes on there")
    parser.add_argument("--reference", type=Path, help="results folder of an unbroken run")
    parser.add_argument("--expected", type=float, help="seconds that the reference took")
    return parser.parse_args()


def draw(count: int, end: float, seed: int) -> list[tuple[float, str]]:
    """Moments in order, and the kind of each kill: every kind as often, in random order."""
    rng = random.Random(seed)
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(count)]
    rng.shuffle(kinds)
    return list(zip(sorted(rng.uniform(0, end) for _ in range(count)), kinds))


def span(results: Path) -> float:
    """Seconds from the first to the last table, weights or array of a folder that has its dates."""
    dates = [(results / name).stat().st_mtime for name in set().union(*files_of(results).values())]
    return max(dates) - min(dates)


def jobs_of(copy: Path, arguments: list[str]) -> int:
    """How many jobs the study is."""
    done = snakemake(copy, "--dry-run", "--quiet", "rules", *arguments)
    if done.returncode:
        sys.exit(f"the study cannot be planned: {done.stderr[-1000:]}")
    return int(re.findall(r"(?m)^total +(\d+)$", done.stdout + done.stderr)[0])


def run_unbroken(folder: Path, study: Study, cores: int) -> float:
    """Run the study as it is; returns seconds.

    In forks of a warm process (`tests.warm`), where the broken one runs in processes of its own: that
    these give the same is compared as well.
    """
    copy, log, started = folder / "unbroken", folder / "unbroken.log", time.monotonic()
    done = snakemake(copy, *study.write(copy, cores))
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        sys.exit(f"the unbroken study failed: see {log}")
    return time.monotonic() - started


def run_broken(folder: Path, study: Study, state: State, cores: int) -> None:
    """Run the study, killed as the state says, until it is finished."""
    copy, log = folder / "broken", folder / "broken.log"
    arguments = study.write(copy, cores)
    end_earlier(state.identity)
    orphans: list[psutil.Process] = []
    while not state.finished:
        if (copy / ".snakemake").exists():
            unlocked = snakemake(copy, *arguments[: arguments.index("--")], "--unlock")
            if unlocked.returncode:
                sys.exit(f"--unlock failed: {unlocked.stderr[-1000:]}")
        before = len(state.done) + len(state.aimed)
        with Call(copy, arguments, log, aims.environment(folder)) as call:
            state.identity = call.identity
            save_state(folder, state)
            try:
                code = watch(folder, call, state)
            finally:
                orphans += call.orphans
        if code == 0:
            state.finished = True
        elif len(state.done) + len(state.aimed) == before:
            sys.exit(f"Snakemake failed although nothing was killed: see {log}")
        save_state(folder, state)
    if ended := end_orphans(orphans, ORPHANS):
        say(folder, f"{ended} orphans had to be ended")


def watch(folder: Path, call: Call, state: State) -> int:
    """Kill what is due until the call ends; returns its exit code."""
    log, size = folder / "broken.log", 0
    begun, since = 0, time.monotonic()  # jobs, those begun again counted once; when the latest was
    last = since
    while (code := call.process.poll()) is None:
        now = time.monotonic()
        state.elapsed, last = state.elapsed + now - last, now
        if log.stat().st_size != size:
            size, jobs = log.stat().st_size, len(set(JOB.findall(log.read_text(errors="replace"))))
            begun, since = jobs, since if jobs == begun else now
        if found := aims.due(state.left, call.jobs(), folder) if state.left else None:
            aim, job = found
            what = call.kill(aim[1], random.Random(f"{state.seed} {aim}"), job)
            state.left.remove(aim)
            state.aimed.append(aim[1])
            note_kill(folder, state, aim[1], what, "while it wrote")
        elif len(state.done) < len(state.kills):
            moment, kind = state.kills[len(state.done)]
            pace = state.elapsed / begun if begun else 1.0  # seconds a job
            if begun + min((now - since) / pace, 1) >= moment:
                what = call.kill(kind, random.Random(f"{state.seed} {len(state.done)}"))
                if what:
                    state.done.append(kind)
                    note_kill(folder, state, kind, what)
        time.sleep(TICK)
    return code


def note_kill(folder: Path, state: State, kind: str, what: str, when: str = "") -> None:
    """Say what was killed, and keep it."""
    state.killed += [what] if kind == "job" else what.split(", ")
    told = f"({', '.join(filter(None, (what, when)))})"
    say(folder, f"{state.elapsed:7.1f} s: killed {KINDS[kind]} {told}")
    save_state(folder, state)


def load_state(folder: Path, options: argparse.Namespace) -> State:
    """The folder's state, or a new one."""
    file = folder / "state.json"
    if not file.exists():
        return State(options.study, options.seed, [])
    state = State(**json.loads(file.read_text()))
    asked = (options.study, options.seed, options.kills)
    kills = len(state.kills) + len(state.left) + len(state.aimed)
    state.left = [tuple(aim) for aim in state.left]  # JSON has lists alone
    if (state.study, state.seed, kills) != asked and state.kills:
        sys.exit(f"{file}: of another study, seed or number of kills; take another --folder")
    return state


def save_state(folder: Path, state: State) -> None:
    """Keep the state, whole."""
    new = folder / "state.json.new"
    new.write_text(json.dumps(asdict(state), indent=2))
    new.replace(folder / "state.json")


def summary(
    folder: Path, study: Study, state: State, files: dict[str, set[str]], found: list[str]
) -> str:
    """The table at the end."""
    log = (folder / "broken.log").read_text(errors="replace")
    starts = Counter(JOB.findall(log))
    resumed = resumes(study.results(folder / "broken"))
    kinds = Counter([*state.done, *state.aimed])
    waited = len(set(re.findall(r"waiting: process (\d+) on ", log)))
    taken = log.count("made by the process waited for")
    counts = ", ".join(f"{len(files[suffix])} {suffix}" for suffix in SUFFIXES)
    broken = str(folder / "broken")
    rows = {
        "kills": f"{len(state.done) + len(state.aimed)}: "
        + ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS)
        + f"; {len(state.aimed)} of them aimed",
        "by rule": ", ".join(f"{rule} {n}" for rule, n in Counter(state.killed).most_common()),
        "jobs": f"{len(starts)}, started again {sum(starts.values()) - len(starts)} times",
        "trainings": f"resumed {log.count('resumed after epoch')} times, by the cards "
        f"{sum(map(len, resumed))} times in {len(resumed)} runs (what was killed again is not in them)",
        "orphans": f"{waited} waited for, {taken} of them finished the job",
        "wall time": f"unbroken {state.unbroken:.0f} s, in warm processes; broken {state.elapsed:.0f} s",
        "lost": f"{sum(': only in ' in line and broken not in line for line in found)} files",
        "result": f"identical ({counts} files)" if not found else f"{len(found)} differences",
    }
    lines = [f"{name:<10} {value}" for name, value in rows.items()]
    return "\n".join(["", *lines, *found])


def resumes(results: Path) -> list[list[int]]:
    """After which epochs each run that was resumed went on, by the runs' cards."""
    cards = [json.loads(path.read_text()) for path in results.glob("runs/*/card.json")]
    own = [card for card in cards if "reused_from" not in card and method(card["method"]).trains]
    return [card["resumed_after"] for card in own if card["resumed_after"]]


def say(folder: Path, text: str) -> None:
    """Print, and keep in chaos.log."""
    print(text, flush=True)
    with (folder / "chaos.log").open("a") as file:
        file.write(f"{text}\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.SubprocessError as error:
        sys.exit(str(error))
