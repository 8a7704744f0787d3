"""The large picture follows who speaks, and not every noise."""

from __future__ import annotations

from recorder.core.speaking import LOUDEST_US, SHOWN_US, SpeakerChoice

ALL = ["alice", "bob", "carol"]
TICK = 100_000


def play(
    script: list[tuple[int, list[str]]], *, until_us: int, present: list[str] = ALL
) -> list[tuple[int, str]]:
    """Give when who came to be shown."""
    choice, shown = SpeakerChoice(), list[tuple[int, str]]()
    for now in range(0, until_us, TICK):
        for at, identities in script:
            if at == now:
                choice.heard(identities)
        who = choice.choose(present, now_us=now)
        assert who is not None
        if not shown or shown[-1][1] != who:
            shown.append((now, who))
    return shown


def test_it_begins_with_the_first_who_came_and_goes_to_who_speaks() -> None:
    shown = play([(3_000_000, ["bob"])], until_us=6_000_000)
    assert shown == [(0, "alice"), (3_000_000 + LOUDEST_US, "bob")]


def test_a_cough_changes_nothing() -> None:
    coughs = [(3_000_000, ["bob", "alice"]), (3_500_000, ["alice"]), (4_500_000, ["carol"]), (5_000_000, [])]
    assert play(coughs, until_us=8_000_000) == [(0, "alice")]
    naive = [identities[0] for _, identities in coughs if identities]
    assert naive == ["bob", "alice", "carol"]  # whoever is loudest at once would jump three times


def test_whoever_is_shown_stays_for_a_while() -> None:
    shown = play([(3_000_000, ["bob"]), (4_000_000, ["carol"])], until_us=9_000_000)
    assert shown == [
        (0, "alice"),
        (3_000_000 + LOUDEST_US, "bob"),
        (3_000_000 + LOUDEST_US + SHOWN_US, "carol"),
    ]


def test_in_silence_the_last_speaker_stays() -> None:
    assert play([(3_000_000, ["bob"]), (5_000_000, [])], until_us=20_000_000)[-1][1] == "bob"


def test_who_speaks_without_a_picture_is_not_shown() -> None:
    assert play([(3_000_000, ["dave", "bob"])], until_us=6_000_000)[-1][1] == "bob"
    assert play([(3_000_000, ["dave"])], until_us=6_000_000) == [(0, "alice")]


def test_when_the_one_shown_leaves_another_is_shown_at_once() -> None:
    choice = SpeakerChoice()
    choice.heard(["carol"])
    assert choice.choose(["alice"], now_us=0) == "alice"
    assert choice.choose(["bob", "carol"], now_us=1) == "carol"
    choice.heard([])
    assert choice.choose(["bob"], now_us=2) == "bob"
    assert choice.choose([], now_us=3) is None
