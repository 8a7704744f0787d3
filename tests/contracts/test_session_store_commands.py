"""What every session store promises of commands: born claimed, fenced, never under an old number."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator.core.commands import CreateRoom, DeleteRoom
from orchestrator.core.errors import (
    FencedError,
)
from tests.contracts.session_changes import (
    LEASE_S,
    World,
    claim_later,
    first_change,
    leave_job,
    next_change,
    numbers,
)


async def test_commands_are_born_claimed(world: World) -> None:
    change = first_change()
    (row,) = await world.store.commit(change)
    assert row.command == CreateRoom(room_name="room-1")
    assert (row.session_id, row.tries) == ("s1", 0)
    assert await world.store.claim_commands(9) == []
    assert await world.store.claim_commands(9, all_orphaned=True) == []  # we are no earlier instance


async def test_rows_come_in_the_order_of_their_commands(world: World) -> None:
    commands = (leave_job(1), DeleteRoom(room_name="room-1"), leave_job(2))
    rows = await world.store.commit(replace(first_change(), commands=commands))
    assert tuple(row.command for row in rows) == commands
    assert sorted({row.id for row in rows}) == [row.id for row in rows]
    world.clock.advance(LEASE_S)
    claimed = await world.store.claim_commands(9)
    assert [(row.id, row.command) for row in claimed] == [(row.id, row.command) for row in rows]


async def test_a_lapsed_lease_is_claimed_once_and_with_a_higher_fence(world: World) -> None:
    (row,) = await world.store.commit(first_change())
    world.clock.advance(LEASE_S - 0.001)
    assert await world.store.claim_commands(9) == []
    world.clock.advance(0.001)
    claims = await asyncio.gather(*(world.store.claim_commands(9) for _ in range(4)))
    (again,) = [claimed for claim in claims for claimed in claim]
    assert again.id == row.id
    assert again.fence > row.fence


async def test_claims_are_limited_and_the_longest_free_comes_first(world: World) -> None:
    first = await world.store.commit(first_change())
    world.clock.advance(1)
    second = await world.store.commit(
        replace(first_change("room-2", session_id="s2"), commands=(leave_job(1), leave_job(2)))
    )
    world.clock.advance(LEASE_S)
    ids = [row.id for row in (*first, *second)]
    assert [row.id for row in await world.store.claim_commands(2)] == ids[:2]
    assert [row.id for row in await world.store.claim_commands(2)] == ids[2:]


async def test_a_result_removes_its_row(world: World) -> None:
    change = first_change()
    (row,) = await world.store.commit(change)
    await world.store.commit(replace(next_change(change.session, "done"), finished=(row,)))
    world.clock.advance(LEASE_S)
    assert await world.store.claim_commands(9) == []


async def test_a_fenced_result_writes_nothing(world: World) -> None:
    change = first_change()
    (row,) = await world.store.commit(change)
    (again,) = await claim_later(world)
    result = replace(next_change(change.session, "late", is_name_held=False), commands=(leave_job(),))
    with pytest.raises(FencedError):
        await world.store.commit(replace(result, finished=(row,)))
    await world.store.commit(replace(next_change(change.session), finished=(again,)))
    assert await numbers(world) == [("s1", 1)]
    with pytest.raises(FencedError):  # it is gone
        await world.store.commit(replace(next_change(next_change(change.session).session), finished=(again,)))


async def test_one_fenced_row_of_two_refuses_both(world: World) -> None:
    change = replace(first_change(), commands=(leave_job(1), leave_job(2)))
    one, two = await world.store.commit(change)
    await world.store.finish_command(two)
    with pytest.raises(FencedError):
        await world.store.commit(replace(next_change(change.session), finished=(one, two)))
    world.clock.advance(LEASE_S)
    assert [row.id for row in await world.store.claim_commands(9)] == [one.id]


async def test_a_finished_row_never_comes_back_under_its_number(world: World) -> None:
    change = first_change()
    (row,) = await world.store.commit(change)
    await world.store.finish_command(row)
    (other,) = await world.store.commit(replace(next_change(change.session), commands=(leave_job(),)))
    assert other.id != row.id
    await world.store.finish_command(row)  # of no effect
    assert [claimed.id for claimed in await claim_later(world)] == [other.id]


async def test_a_postponed_row_rests(world: World) -> None:
    (row,) = await world.store.commit(first_change())
    await world.store.postpone_command(row, 2.5)
    world.clock.advance(2.4)
    assert await world.store.claim_commands(9) == []
    assert await world.store.claim_commands(9, all_orphaned=True) == []
    world.clock.advance(0.1)
    (again,) = await world.store.claim_commands(9)
    assert (again.id, again.tries, again.command) == (row.id, 1, row.command)
    await world.store.postpone_command(again, 60)  # longer than the lease
    world.clock.advance(59)
    assert await world.store.claim_commands(9) == []
    world.clock.advance(1)
    assert [claimed.tries for claimed in await world.store.claim_commands(9)] == [2]


async def test_who_was_fenced_neither_postpones_nor_finishes(world: World) -> None:
    (row,) = await world.store.commit(first_change())
    (again,) = await claim_later(world)
    await world.store.postpone_command(row, 0)
    await world.store.finish_command(row)
    assert await world.store.claim_commands(9) == []
    world.clock.advance(LEASE_S)
    assert [(c.id, c.tries) for c in await world.store.claim_commands(9)] == [(again.id, 0)]
