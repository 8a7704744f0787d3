"""Each thing that does not hold in a demo is one sentence, and the JSON has the promised keys."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from greenroom.demo_report import DemoDecoded, DemoExport, DemoRecording, DemoReport, check, print_report


def good() -> DemoReport:
    return DemoReport(
        seconds=15.0,
        session_id="s",
        states=["WaitingForServices", "Ready", "Active", "Terminating", "Terminated"],
        events=["session_created", "session_terminated"],
        time_to_token_ms=12.0,
        time_to_ready_ms=300.0,
        pong_ms=5.0,
        frames_published=450,
        recording_status="completed",
        recording=DemoRecording(
            id="r",
            path="/data/r",
            mode="passthrough",
            chunks=34,
            bytes=10,
            tree_size=34,
            root="ab",
            verified=True,
        ),
        export=DemoExport(path="/data/r.mp4", duration_s=15.02, video_frames=446, audio_s=15.02),
        decoded=DemoDecoded(
            duration_s=15.0,
            video_frames=446,
            audio_s=15.0,
            unread_frames=0,
            first_counter=4,
            last_counter=449,
            counter_monotonic=True,
            av_offset_ms=17.0,
        ),
    )


def test_nothing_is_wrong_with_a_good_one() -> None:
    assert check(good()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"time_to_ready_ms": None}, "never told to be ready"),
        ({"pong_ms": None}, "did not answer the ping"),
        ({"states": ["Ready", "Active"]}, "last state was Active"),
        ({"states": []}, "last state was none"),
        ({"events": ["gap"]}, "had a gap"),
        ({"recording_status": "failed"}, "ended as failed"),
        ({"recording": None}, "no recording was found"),
        ({"export": None}, "no exported file"),
        ({"frames_published": 600}, "of 600 published frames 446 were recorded"),
        ({"seconds": 20.0}, "the file lasts 15.00 s, 20 s were published"),
    ],
)
def test_what_went_wrong_on_the_way_is_said(change: dict[str, Any], sentence: str) -> None:
    problems = check(replace(good(), **change))
    assert any(sentence in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"video_frames": 445}, "the export says 446 video frames, 445 were decoded"),
        ({"duration_s": 14.5}, "the export says it lasts 15.02 s, decoded are 14.50 s"),
        ({"audio_s": 14.5}, "the export says it has sound for 15.02 s"),
        ({"unread_frames": 2}, "counter of 2 frames cannot be read"),
        ({"counter_monotonic": False}, "jumps back"),
        ({"av_offset_ms": None}, "no flash with its beep"),
        ({"av_offset_ms": -81.0}, "81 ms apart, at most 80 ms"),
    ],
)
def test_what_is_wrong_with_the_media_is_said_alone(change: dict[str, Any], sentence: str) -> None:
    report = good()
    assert report.decoded is not None
    (problem,) = check(replace(report, decoded=replace(report.decoded, **change)))
    assert sentence in problem or sentence.lstrip("-") in problem


def test_an_unverified_recording_is_named() -> None:
    report = good()
    assert report.recording is not None
    problems = check(replace(report, recording=replace(report.recording, verified=False)))
    assert problems == ["the recording in /data/r does not verify"]


def test_the_json_is_one_line_with_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(good(), as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    value = json.loads(line)
    assert {"session_id", "states", "events", "time_to_token_ms", "time_to_ready_ms"} <= set(value)
    assert {"id", "path", "mode", "chunks", "bytes", "tree_size", "root", "verified"} == set(
        value["recording"]
    )
    assert {"path", "duration_s", "video_frames", "audio_s"} == set(value["export"])
    assert (value["ok"], value["av_offset_ms"], value["counter_monotonic"]) == (True, 17.0, True)


def test_people_get_a_table_and_each_problem(capsys: pytest.CaptureFixture[str]) -> None:
    report = good()
    print_report(report, as_json=False)
    assert "All of it held." in capsys.readouterr().out
    report.problems = ["the pong worker did not answer the ping"]
    print_report(report, as_json=False)
    shown = capsys.readouterr().out
    assert "Not so: the pong worker did not answer the ping." in shown
    assert "1 thing did not hold." in shown
