"""Answers to offers as LiveKit makes them."""

from __future__ import annotations

from recorder.adapters.passthrough.answer import Offer

OFFER = "\r\n".join(
    [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1 2",
        "a=fingerprint:sha-256 AA:BB",
        "a=ice-lite",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=mid:0",
        "a=sctp-port:5000",
        "a=ice-ufrag:user",
        "a=ice-pwd:word",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 102 103",
        "a=mid:1",
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=rtpmap:98 VP9/90000",
        "a=rtpmap:102 H264/90000",
        "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "a=rtpmap:103 H264/90000",
        "a=fmtp:103 packetization-mode=0;profile-level-id=42e01f",
        "a=ssrc-group:FID 11 12",
        "a=ssrc:11 msid:PA_x|TR_video TR_video",
        "a=ssrc:12 msid:PA_x|TR_video TR_video",
        "a=msid:PA_x|TR_video TR_video",
        "a=sendonly",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
        "a=mid:2",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:63 red/48000/2",
        "a=ssrc:21 msid:PA_x|TR_audio TR_audio",
        "a=msid:PA_x|TR_audio TR_audio",
        "a=inactive",
        "",
    ]
)


def test_an_offer_says_how_to_connect() -> None:
    offer = Offer(OFFER)
    assert (offer.username, offer.password, offer.ice_lite) == ("user", "word", True)
    assert offer.fingerprints == (("sha-256", "AA:BB"),)
    assert offer.candidates == ("candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host",)


def test_tracks_that_are_sent_are_found_without_their_retransmissions() -> None:
    (track,) = Offer(OFFER).tracks()
    assert (track.mid, track.kind, track.sid, track.ssrcs) == ("1", "video", "TR_video", (11,))


def test_an_answer_takes_what_is_recorded_and_nothing_else() -> None:
    offer = Offer(OFFER)
    assert offer.codecs() == {96: "vp8", 102: "h264", 111: "opus"}
    answer = offer.answer(username="u", password="p", fingerprint="CC", candidates=["candidate:x"])
    _, application, video, audio = answer.split("m=")
    assert application.startswith("application 9 UDP/DTLS/SCTP")
    assert video.startswith("video 9 UDP/TLS/RTP/SAVPF 96 102\r\n")
    assert "a=recvonly" in video
    assert "a=rtcp-fb:102 nack pli" in video
    assert "rtx" not in answer
    assert "red" not in answer.replace("a=candidate", "")
    assert audio.startswith("audio 9 UDP/TLS/RTP/SAVPF 111\r\n")
    assert "a=inactive" in audio
    for section in (application, video, audio):
        assert "a=setup:active" in section
        assert "a=fingerprint:sha-256 CC" in section
        assert "a=candidate:x" in section
    assert "a=group:BUNDLE 0 1 2" in answer


def test_a_section_of_which_nothing_is_taken_is_inactive() -> None:
    answer = Offer(OFFER.replace("opus", "pcmu")).answer(
        username="u", password="p", fingerprint="CC", candidates=[]
    )
    assert answer.split("m=")[3].startswith("audio 9 UDP/TLS/RTP/SAVPF 111\r\n")
    assert "a=inactive" in answer.split("m=")[3]


def test_no_text_breaks_the_reading() -> None:
    for text in ("", "m=", "m=video\r\na=ssrc:x", "a=rtpmap:x opus/48000", "\x00\xff"):
        assert Offer(text.replace("a=ssrc:x", "")).tracks() == []
