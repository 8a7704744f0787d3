"""Runs seeds of the simulation: `python -m tests.invariants.simulate --seed N --trace`."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator, Sequence

from tests.invariants.checkers import check_all
from tests.invariants.checks.watching import Violation
from tests.invariants.history import Appended, Committed, History, Record
from tests.invariants.simulation.faults import plan_of
from tests.invariants.simulation.world import run_seed

_COLLECT_EVERY = 50  # runs leave cycles behind; collecting after each would be half of the time


def run_seeds(seeds: Sequence[int]) -> dict[int, list[Violation]]:
    """Run seeds in this process; give those with violations."""
    failed = {}
    gc.disable()
    try:
        for count, seed in enumerate(seeds, start=1):
            violations = check_all(run_seed(seed))
            if violations:
                failed[seed] = violations
            if count % _COLLECT_EVERY == 0:
                gc.collect()
    finally:
        gc.enable()
        gc.collect()
    return failed


def lines(history: History) -> Iterator[str]:
    """Give a history as a person reads it: one line a record, sessions by what changed."""
    for record in history:
        yield f"{record.at:9.4f}  {_line(record)}"


def _line(record: Record) -> str:
    match record:
        case Committed():
            session = record.session
            jobs = " ".join(f"{j.service_id}:{j.state.value}@{j.attempt}/{j.worker_id}" for j in session.jobs)
            names = ",".join(type(event).__name__ for event in record.events)
            commands = ",".join(type(command).__name__ for command in record.commands)
            return (
                f"COMMIT {session.id[:8]} v{session.version} {session.room_status.value}/{session.stage} "
                f"sid={session.room_sid} degraded={session.degraded} [{jobs}] "
                f"in={sorted(session.participants)} deadlines={sorted(session.deadlines)} "
                f"{session.end_reason} events={names} commands={commands} by {record.instance}"
            )
        case Appended():
            return f"  event {record.position} {record.name}"
        case _:
            return repr(record)


def main() -> None:
    """Run what the arguments say; exit code 1 when an invariant was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FROM", "TO"), help="run these, TO excluded")
    parser.add_argument("--trace", action="store_true", help="print plan and history")
    wish = parser.parse_args()
    seeds = range(*wish.seeds) if wish.seeds else [wish.seed or 0]
    started = time.process_time()
    if wish.trace:
        for seed in seeds:
            print(plan_of(seed))
            print("\n".join(lines(run_seed(seed))))
    failed = run_seeds(seeds)
    for seed, violations in failed.items():
        for violation in violations:
            print(f"seed {seed}: {violation}", flush=True)
    each_ms = (time.process_time() - started) * 1000 / len(seeds)
    print(f"{len(seeds)} seeds, {len(failed)} with violations, {each_ms:.0f} ms each")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
