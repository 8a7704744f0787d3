"""Session descriptions: what is taken of them, what is refused, and what is written."""

from __future__ import annotations

import pytest

from engine.sdp import LEVEL, MID, Codec, Description, Local, SdpError, Use, describe, find_codec, numbered
from tests.engine.sessions import offer, section

LOCAL = Local(username="u", password="p", fingerprint="CC", host="127.0.0.1", port=7)
H264 = Codec(mime="video/H264", rate=90_000, encoding="H264/90000", fmtp="packetization-mode=1")


def read(*sections: list[str]) -> Description:
    return Description(offer(*sections).sdp)


def test_only_what_can_be_forwarded_is_taken() -> None:
    video = read(section("video", "0")).sections[0]
    assert {number: codec.mime for number, codec in video.codecs().items()} == {
        96: "video/VP8",
        103: "video/H264",
        107: "video/H264",
        109: "video/H264",
    }  # no retransmission, no redundancy


@pytest.mark.parametrize(
    ("fmtp", "number"),
    [
        ("packetization-mode=1;profile-level-id=42001f", 103),
        ("profile-level-id=42e01f;packetization-mode=1", 109),
        ("packetization-mode=0;profile-level-id=42e01f", 107),
        ("profile-level-id=640032; packetization-mode=1", 103),  # an unknown profile, the mode fits
        ("profile-level-id=42001f", 107),  # RFC 6184 section 8.1: no mode is mode 0
    ],
)
def test_a_codec_is_found_by_what_its_decoder_needs(fmtp: str, number: int) -> None:
    codecs = read(section("video", "0")).sections[0].codecs()
    wanted = Codec(mime="video/H264", rate=90_000, encoding="H264/90000", fmtp=fmtp)
    assert find_codec(codecs, wanted) == number


def test_a_codec_that_was_not_offered_is_not_found() -> None:
    codecs = read(section("video", "0")).sections[0].codecs()
    assert find_codec(codecs, Codec(mime="video/AV1", rate=90_000, encoding="AV1/90000")) is None


def test_a_port_of_zero_refuses_a_section_unless_it_is_bundled() -> None:
    one, other = read(section("audio", "0", port=0), section("audio", "1", "a=bundle-only", port=0)).sections
    assert (one.is_rejected, other.is_rejected) == (True, False)


def test_the_top_layer_is_taken_however_the_layers_are_said() -> None:
    rids = [f"a=rid:{name} send" for name in "hfq"]
    ssrcs = [*(f"a=ssrc:{number} cname:x" for number in (1, 2, 3, 4)), "a=ssrc-group:FID 3 4"]
    named, grouped = read(section("video", "0", *rids), section("video", "1", *ssrcs)).sections
    assert named.layers() == ["q", "h", "f"]
    assert grouped.ssrcs()[-1] == 3


def test_a_stream_of_repairs_is_none_of_media() -> None:
    lines = ["a=ssrc-group:FID 5 6", "a=ssrc:5 cname:x", "a=ssrc:6 cname:x", "a=ssrc:nonsense"]
    assert read(section("video", "0", *lines)).sections[0].ssrcs() == [5]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=0\r\n",
        "m=\r\n",
        "m=audio 9\r\n",
        offer(["m=audio 9 UDP/TLS/RTP/SAVPF 111"]).sdp,  # no mid
        offer(section("audio", "0"), section("audio", "0")).sdp,  # the same mid twice
        offer(section("audio", "0")).sdp.replace("ice-ufrag", "x"),
        offer(section("audio", "0")).sdp.replace("fingerprint", "x"),
        "m=audio 9 x 1\r\n" * 1_001,
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(SdpError):
        Description(text)


def test_wild_numbers_are_passed_over() -> None:
    lines = ["a=extmap:x " + MID, "a=extmap:99 " + MID, "a=extmap:3/sendonly " + MID, "a=extmap:0 " + LEVEL]
    head = f"m=audio 9 UDP/TLS/RTP/SAVPF 111 ² 300 -1 {'9' * 400}"
    broken = [
        head,
        "a=mid:0",
        "a=rtpmap:² opus/48000",
        "a=rtpmap:300 opus/48000",
        "a=rtpmap:111 opus",
        *lines,
    ]
    found = read(broken).sections[0]
    assert found.extensions() == {MID: 3}
    assert list(found.codecs()) == [111]


def test_what_is_written_can_be_read_again() -> None:
    use = Use(
        direction="sendonly", codecs={103: H264}, extensions={MID: 4}, msid="PA_1|TR_1 TR_1", ssrc=2**32 - 1
    )
    written = describe(
        LOCAL,
        [("video", "v", use), ("audio", "gone", None), ("application", "d", Use()), ("audio", "a", Use())],
    )
    again = Description(written)
    video, gone, data, idle = again.sections
    assert (again.username, again.fingerprints) == ("u", [("sha-256", "CC")])
    assert "a=setup:passive\r\n" in written
    assert "a=group:BUNDLE v d a\r\n" in written
    assert (video.sends, video.receives, video.cid, video.ssrcs()) == (True, False, "TR_1", [2**32 - 1])
    assert video.codecs() == {103: H264}
    assert (gone.is_rejected, data.is_rejected) == (True, False)
    assert (idle.sends, idle.receives) == (False, False)


def test_each_codec_has_a_payload_type_of_its_own_until_there_are_no_more() -> None:
    taken: dict[int, Codec] = {}
    codecs = [Codec(mime="video/H264", rate=90_000, encoding=f"H264/{number}") for number in range(33)]
    assert [numbered(codec, taken) for codec in codecs[:32]] == list(range(96, 128))
    assert numbered(codecs[5], taken) == 101
    with pytest.raises(SdpError, match="32 codecs"):
        numbered(codecs[32], taken)


def test_silence_is_left_out_by_who_is_told_to_in_the_answer() -> None:
    opus = read(section("audio", "0")).sections[0].codecs()[111]
    assert opus.asked(dtx=True, stereo=False).fmtp == "minptime=10;useinbandfec=1;usedtx=1"
    assert opus.asked(dtx=True, stereo=True).asked(dtx=False, stereo=False) == opus
    assert H264.asked(dtx=True, stereo=True) == H264
