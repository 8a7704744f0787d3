"""What every session store promises of request keys: bound with the intent, once, for a day."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.core.errors import (
    FencedError,
    KeyTakenError,
    RoomNameTakenError,
    SessionNotFoundError,
    VersionConflictError,
)
from orchestrator.core.events import MicroserviceRegistered
from orchestrator.core.ids import CallerId, SessionId
from orchestrator.core.request_keys import KEPT, BoundKey, KeyScope, RequestKey
from orchestrator.ports import Change
from tests.contracts.session_changes import (
    World,
    assert_untouched,
    claim_later,
    first_change,
    next_change,
    registration,
    saved,
)


def key_of(key: str = "k", *, route: str = "create", caller: str = "", fingerprint: str = "f") -> RequestKey:
    return RequestKey(scope=KeyScope(caller=CallerId(caller), route=route, key=key), fingerprint=fingerprint)


def keyed(key: RequestKey, name: str = "room-1", *, session_id: str = "s1") -> Change:
    return replace(first_change(name, session_id=session_id), key=key)


async def target(world: World, key: RequestKey) -> str | None:
    bound = await world.store.bound_key(key.scope)
    return bound.target if bound is not None else None


async def test_a_key_is_bound_by_the_commit_that_carries_it(world: World) -> None:
    assert await world.store.bound_key(key_of().scope) is None
    await world.store.commit(keyed(key_of()))
    assert await world.store.bound_key(key_of().scope) == BoundKey(fingerprint="f", target="s1")


async def test_a_bound_key_is_refused_and_nothing_is_written(world: World) -> None:
    first = keyed(key_of())
    await world.store.commit(first)
    with pytest.raises(KeyTakenError):
        await world.store.commit(keyed(key_of(fingerprint="another"), "room-2", session_id="s2"))
    with pytest.raises(SessionNotFoundError):
        await world.store.load(SessionId("s2"))
    assert await world.store.bound_key(key_of().scope) == BoundKey(fingerprint="f", target="s1")
    await assert_untouched(world, first.session, commands=1)


async def test_of_many_with_one_key_one_wins(world: World) -> None:
    changes = [keyed(key_of(), f"room-{n}", session_id=f"s{n}") for n in range(20)]
    outcomes = await asyncio.gather(*map(world.store.commit, changes), return_exceptions=True)
    assert sum(isinstance(outcome, KeyTakenError) for outcome in outcomes) == 19
    (session,) = await world.store.open_sessions()
    assert await target(world, key_of()) == session.id


async def test_without_a_key_all_of_them_are_written(world: World) -> None:
    await asyncio.gather(
        *(world.store.commit(first_change(f"room-{n}", session_id=f"s{n}")) for n in range(20))
    )
    assert len(await world.store.open_sessions()) == 20


@pytest.mark.parametrize(
    "other", [key_of("K"), key_of(route="terminate"), key_of(caller="anna"), key_of("k "), key_of("~" * 255)]
)
async def test_keys_of_other_callers_and_routes_are_other_keys(world: World, other: RequestKey) -> None:
    await world.store.commit(keyed(key_of()))
    await world.store.commit(keyed(other, "room-2", session_id="s2"))
    assert (await target(world, key_of()), await target(world, other)) == ("s1", "s2")


async def test_a_change_that_is_refused_binds_nothing(world: World) -> None:
    session = await saved(world.store)
    (row,) = await claim_later(world)
    refused = [
        (VersionConflictError, replace(next_change(session), session=replace(session, version=7))),
        (RoomNameTakenError, first_change("room-1", session_id="s2")),
        (FencedError, replace(next_change(session), finished=(replace(row, fence=9),))),
    ]
    for error, change in refused:
        with pytest.raises(error):
            await world.store.commit(replace(change, key=key_of()))
    assert await target(world, key_of()) is None


async def test_a_later_change_may_bind_a_key_too(world: World) -> None:
    session = await saved(world.store)
    await world.store.commit(replace(next_change(session), key=key_of(route="terminate")))
    assert await target(world, key_of(route="terminate")) == session.id


async def test_a_freed_key_can_be_bound_again(world: World) -> None:
    first = keyed(key_of())
    await world.store.commit(first)
    await world.store.commit(replace(next_change(first.session), freed_key=key_of().scope))
    assert await target(world, key_of()) is None
    await world.store.commit(keyed(key_of(), "room-2", session_id="s2"))
    assert await target(world, key_of()) == "s2"


async def test_a_key_is_freed_and_bound_side_by_side(world: World) -> None:
    first = keyed(key_of())
    await world.store.commit(first)
    freeing = replace(next_change(first.session), freed_key=key_of().scope)
    binding = keyed(key_of(), "room-2", session_id="s2")
    await asyncio.gather(world.store.commit(freeing), world.store.commit(binding))
    assert await target(world, key_of()) == "s2"


async def test_nobody_frees_the_key_of_another_session(world: World) -> None:
    await world.store.commit(keyed(key_of()))
    other = await saved(world.store, "room-2", "s2")
    await world.store.commit(replace(next_change(other), freed_key=key_of().scope))
    assert await target(world, key_of()) == "s1"


async def test_a_refused_change_frees_nothing(world: World) -> None:
    first = keyed(key_of())
    await world.store.commit(first)
    late = next_change(replace(first.session, version=5))
    with pytest.raises(VersionConflictError):
        await world.store.commit(replace(late, freed_key=key_of().scope))
    assert await target(world, key_of()) == "s1"


async def test_a_key_is_free_after_a_day_swept_or_not(world: World) -> None:
    await world.store.commit(keyed(key_of()))
    world.clock.advance((KEPT - timedelta(microseconds=1)).total_seconds())
    assert await target(world, key_of()) == "s1"
    world.clock.advance(0.000001)
    assert await target(world, key_of()) is None
    await world.store.commit(keyed(key_of(fingerprint="new"), "room-2", session_id="s2"))
    assert await world.store.bound_key(key_of().scope) == BoundKey(fingerprint="new", target="s2")


async def test_old_keys_are_forgotten_and_younger_ones_stay(world: World) -> None:
    for n in range(3):
        await world.store.commit(keyed(key_of(f"k{n}"), f"room-{n}", session_id=f"s{n}"))
        world.clock.advance(3600)
    assert await world.store.forget_keys() == 0
    world.clock.advance(KEPT.total_seconds() - 2 * 3600)
    await world.store.commit(keyed(key_of("k0"), "again", session_id="s9"))  # bound anew: young
    assert await world.store.forget_keys() == 1
    assert await world.store.forget_keys() == 0
    assert [await target(world, key_of(f"k{n}")) for n in range(3)] == ["s9", None, "s2"]


async def test_many_old_keys_are_forgotten(world: World) -> None:
    session = await saved(world.store)
    for n in range(2100):
        change = next_change(session)
        await world.store.commit(replace(change, key=key_of(f"k{n}")))
        session = change.session
    world.clock.advance(KEPT.total_seconds())
    assert await world.store.forget_keys() == 2100


async def test_a_registration_binds_a_key(world: World) -> None:
    key = key_of(route="register")
    event = MicroserviceRegistered(service_id="asr", worker_id="asr")
    await world.store.save_worker(registration("asr"), (event,), key=key)
    assert await world.store.bound_key(key.scope) == BoundKey(fingerprint="f", target="asr")
    with pytest.raises(KeyTakenError):
        await world.store.save_worker(registration("asr", capacity=9), (event,), key=key)
    assert await world.store.workers() == [registration("asr")]
    assert (await world.store.feed_after(0, session_id=None, limit=9)).head_seq == 1
