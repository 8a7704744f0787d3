"""Who stands where at a time: by join order, without those who are muted or gone, dark when nothing comes."""

from __future__ import annotations

from recorder.core.layout import Layout
from recorder.core.quality import QUALITIES
from recorder.ports import Picture, SourceTrack, SourceTrackId
from recorder.service.composed_picture import DARK_AFTER_US, MAX_HELD, ComposedPicture
from tests.fakes.tracks import make_track

FRAME_US = 33_333


class Stage:
    """Cameras that film a counter, all at once, to a stage."""

    def __init__(self, layout: Layout = "grid") -> None:
        self.composed = ComposedPicture(layout=layout, quality=QUALITIES["high"])
        self.filming: dict[str, int] = {}
        self.now_us = 0

    def join(self, identity: str, *, first: int = 0, again: str = "") -> SourceTrackId:
        track_id = SourceTrackId(f"TR_{identity}{again}")
        made = make_track(track_id, "video", "camera")
        self.composed.begin(SourceTrack(track_id=track_id, kind=made.kind, identity=identity, name=made.name))
        self.filming[track_id] = first
        return track_id

    def film(self, frames: int) -> None:
        for _ in range(frames):
            self.now_us += FRAME_US
            for track_id in self.filming:
                self.filming[track_id] += 1
                self.show(track_id, self.filming[track_id])

    def show(self, track_id: str, counter: int, *, size: tuple[int, int] = (64, 36)) -> None:
        picture = Picture(
            arrival_us=self.now_us, shown_us=None, width=size[0], height=size[1], data=b"%d" % counter
        )
        self.composed.add(SourceTrackId(track_id), picture)

    def seen(self, at_us: int | None = None) -> list[tuple[str, int, int, int]]:
        """Track, place, width and counter of each picture."""
        placed = self.composed.at(self.now_us if at_us is None else at_us)
        return [(one.track_id, one.box.x, one.box.width, int(bytes(one.picture.data))) for one in placed]


def test_pictures_stand_by_who_came_first_with_the_one_of_that_time() -> None:
    stage = Stage()
    stage.join("alice")
    stage.join("bob", first=100)
    stage.film(10)
    assert stage.seen(6 * FRAME_US) == [("TR_alice", 0, 640, 6), ("TR_bob", 640, 640, 106)]
    assert stage.seen() == [("TR_alice", 0, 640, 10), ("TR_bob", 640, 640, 110)]


def test_nobody_is_shown_before_the_first_picture_nor_waited_for_later() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    del stage.filming[bob]
    stage.film(3)
    assert stage.seen() == [(alice, 0, 1280, 3)]
    stage.show(bob, 200)
    assert [seen[3] for seen in stage.seen()] == [3, 200]
    stage.film(5)
    assert [seen[3] for seen in stage.seen()] == [8, 200]  # bob's last one stands meanwhile


def test_a_camera_that_gives_nothing_new_goes_dark_and_keeps_its_place() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    stage.film(1)
    del stage.filming[alice]
    stage.film(DARK_AFTER_US // FRAME_US - 1)
    assert [seen[0] for seen in stage.seen()] == [alice, bob]
    stage.film(2)
    assert [seen[:3] for seen in stage.seen()] == [(bob, 640, 640)]
    stage.show(alice, 1)
    assert [seen[0] for seen in stage.seen()] == [alice, bob]


def test_who_is_muted_or_gone_leaves_the_stage_from_that_time_on() -> None:
    stage = Stage()
    alice, bob, carol = stage.join("alice"), stage.join("bob"), stage.join("carol")
    stage.film(10)
    stage.composed.mute(alice, is_muted=True, now_us=stage.now_us)
    stage.composed.end(carol, now_us=stage.now_us)
    del stage.filming[alice], stage.filming[carol]
    stage.film(10)
    assert [seen[0] for seen in stage.seen(9 * FRAME_US)] == [alice, bob, carol]  # before it happened
    assert stage.seen() == [(bob, 0, 1280, 20)]
    stage.composed.mute(alice, is_muted=False, now_us=stage.now_us)
    assert [seen[0] for seen in stage.seen()] == [bob]  # what she showed before is not shown again
    stage.filming[alice] = 50
    stage.film(1)
    assert [seen[::3] for seen in stage.seen()] == [(alice, 51), (bob, 21)]


def test_who_comes_back_has_the_old_place() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    stage.film(2)
    stage.composed.end(alice, now_us=stage.now_us)
    del stage.filming[alice]
    stage.film(2)
    assert [seen[0] for seen in stage.seen()] == [bob]
    back = stage.join("alice", again="-2")
    stage.film(2)
    assert [seen[0] for seen in stage.seen()] == [back, bob]


def test_the_blank_pictures_of_an_unpublished_camera_are_no_pictures() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.film(2)
    stage.show(alice, 99, size=(8, 8))
    assert stage.seen(stage.now_us + FRAME_US)[0][3] == 2


def test_who_speaks_is_large_and_the_others_keep_their_order() -> None:
    stage = Stage("speaker")
    stage.join("alice")
    bob = stage.join("bob")
    stage.join("carol")
    stage.film(1)
    assert [seen[0] for seen in stage.seen()] == ["TR_alice", "TR_bob", "TR_carol"]
    stage.composed.speaking(["bob"])
    for _ in range(90):
        stage.film(1)
        stage.seen()
    (large, _, width, _), *others = stage.seen()
    assert (large, width) == (bob, 1024)
    assert [seen[0] for seen in others] == ["TR_alice", "TR_carol"]


def test_what_waits_to_be_shown_is_bounded() -> None:
    stage = Stage()
    stage.join("alice")
    stage.film(10 * MAX_HELD)
    assert stage.seen(0) == []
    assert stage.seen(stage.now_us)[0][3] == 10 * MAX_HELD
