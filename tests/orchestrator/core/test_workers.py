"""The choice of a worker."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from orchestrator.core.ids import WorkerId
from orchestrator.core.workers import JOINING_LIMIT, Candidate, choose


def candidate(
    name: str, *, jobs: int = 0, capacity: int | None = None, load: float = 0.0, **offers: str
) -> Candidate:
    return Candidate(worker_id=WorkerId(name), capacity=capacity, jobs=jobs, load=load, offers=offers)


def chosen(
    *candidates: Candidate, refused_by: tuple[str, ...] = (), asked: dict[str, str] | None = None
) -> str | None:
    """Who is chosen, in whatever order they are listed."""
    refusing = tuple(WorkerId(name) for name in refused_by)
    names = {
        found.worker_id if (found := choose(order, refused_by=refusing, asked=asked)) else None
        for order in permutations(candidates)
    }
    assert len(names) == 1, "the order of the list decided"
    return names.pop()


def test_nobody_to_ask_is_nobody() -> None:
    assert chosen() is None
    assert chosen(candidate("a", jobs=1, capacity=1), candidate("b", jobs=3, capacity=2)) is None


def test_capacity_none_is_no_limit_and_zero_takes_nothing() -> None:
    assert candidate("a", jobs=1000).has_room
    assert not candidate("a", capacity=0).has_room
    assert chosen(candidate("a", capacity=0)) is None


def test_the_least_loaded_by_share_of_its_capacity() -> None:
    assert chosen(candidate("a", jobs=1, capacity=2), candidate("b", jobs=3, capacity=10)) == "b"


def test_then_by_jobs_then_by_what_it_says_then_by_name() -> None:
    assert chosen(candidate("a", jobs=2), candidate("b", jobs=1)) == "b"
    assert chosen(candidate("a", load=0.9), candidate("b", load=0.1)) == "b"
    assert chosen(candidate("b"), candidate("a"), candidate("c")) == "a"


def test_who_refused_is_asked_last() -> None:
    assert chosen(candidate("a"), candidate("b", jobs=9), refused_by=("a",)) == "b"
    assert chosen(candidate("a"), candidate("b", jobs=1, capacity=1), refused_by=("a",)) == "a"


def test_only_who_has_all_that_is_asked_is_chosen_however_loaded_it_is() -> None:
    german = candidate("a", jobs=9, lang="de", gpu="yes")
    english = candidate("b", lang="en", gpu="yes")
    assert chosen(german, english, asked={"lang": "de"}) == "a"
    assert chosen(german, english, asked={"gpu": "yes"}) == "b"
    assert chosen(german, english, asked={"lang": "de", "gpu": "no"}) is None
    assert chosen(german, english, asked={"lang": "d"}) is None
    assert chosen(candidate("c"), asked={"lang": "de"}) is None
    assert chosen(candidate("c"), asked={}) == "c"


def test_one_that_matches_is_not_asked_beyond_its_capacity() -> None:
    assert chosen(candidate("a", jobs=1, capacity=1, lang="de"), asked={"lang": "de"}) is None


def test_one_that_joins_as_many_rooms_as_it_may_is_asked_for_no_more() -> None:
    busy = replace(candidate("a", jobs=10, capacity=50), joining=JOINING_LIMIT)
    assert chosen(busy) is None
    assert chosen(busy, candidate("b", jobs=49, capacity=50)) == "b"
    assert chosen(replace(busy, capacity=None)) == "a"
    assert chosen(replace(busy, joining=JOINING_LIMIT - 1)) == "a"
