"""Reads the media server's offers and writes the answers: receive only, no retransmission streams, no RED.

Source: RFC 9429 section 5.3 (answers), RFC 8839 (ICE), RFC 8842 (DTLS), RFC 4585 (feedback).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

CODECS: Final = {"h264": "video", "vp8": "video", "opus": "audio"}
_FEEDBACK: Final = ("nack", "nack pli", "ccm fir")


@dataclass(frozen=True, slots=True)
class OfferedTrack:
    """One track of the room in an offer.

    Attributes:
        sid: the track's, as LiveKit names it.
        ssrcs: of its streams.
    """

    mid: str
    kind: str
    sid: str
    ssrcs: tuple[int, ...]


@dataclass(slots=True)
class _Section:
    kind: str
    head: str
    lines: list[str] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        prefix = f"a={name}:"
        return [line[len(prefix) :] for line in self.lines if line.startswith(prefix)]

    def value(self, name: str) -> str:
        return next(iter(self.values(name)), "")

    @property
    def sends(self) -> bool:
        return "a=sendonly" in self.lines or "a=sendrecv" in self.lines

    def codecs(self) -> dict[int, str]:
        """Payload types that are taken, and their codec."""
        taken = {}
        formats = dict(line.split(" ", 1) for line in self.values("fmtp") if " " in line)
        for line in self.values("rtpmap"):
            number, _, name = line.partition(" ")
            codec = name.split("/")[0].lower()
            if CODECS.get(codec) != self.kind:
                continue
            if codec == "h264" and "packetization-mode=1" not in formats.get(number, ""):
                continue
            taken[int(number)] = codec
        return taken


class Offer:
    """One offer of the media server.

    Attributes:
        fingerprints: (algorithm, value) of its certificate.
        candidates: its ICE candidates so far, as in SDP.
    """

    def __init__(self, sdp: str) -> None:
        session: list[str] = []
        self._sections: list[_Section] = []
        lines = session
        for line in sdp.replace("\r\n", "\n").split("\n"):
            if line.startswith("m="):
                section = _Section(kind=line[2:].split(" ", 1)[0], head=line)
                self._sections.append(section)
                lines = section.lines
            elif line:
                lines.append(line)
        every = [*session, *(line for section in self._sections for line in section.lines)]
        self.ice_lite = "a=ice-lite" in session
        self.username = _first(every, "a=ice-ufrag:")
        self.password = _first(every, "a=ice-pwd:")
        self.fingerprints = tuple(
            (algorithm, value)
            for algorithm, _, value in (
                line[len("a=fingerprint:") :].partition(" ")
                for line in every
                if line.startswith("a=fingerprint:")
            )
        )[:1]
        self.candidates = tuple(dict.fromkeys(line[2:] for line in every if line.startswith("a=candidate:")))

    def tracks(self) -> list[OfferedTrack]:
        """Give the tracks that are sent."""
        found = []
        for section in self._sections:
            sid = re.search(r"TR_\w+", section.value("msid"))
            if section.kind in ("audio", "video") and section.sends and sid is not None:
                repaired = {
                    int(number)
                    for line in section.values("ssrc-group")
                    for number in line.split(" ")[2:]
                    if line.startswith("FID ")
                }
                ssrcs = dict.fromkeys(int(line.split(" ")[0]) for line in section.values("ssrc"))
                found.append(
                    OfferedTrack(
                        section.value("mid"),
                        section.kind,
                        sid.group(),
                        tuple(ssrc for ssrc in ssrcs if ssrc not in repaired),
                    )
                )
        return found

    def codecs(self) -> dict[int, str]:
        """Give the codec of each payload type that the answer takes."""
        return {number: codec for section in self._sections for number, codec in section.codecs().items()}

    def answer(self, *, username: str, password: str, fingerprint: str, candidates: list[str]) -> str:
        """Write the answer.

        Args:
            username: of ICE, ours; ``password`` likewise.
            fingerprint: of our certificate, sha-256.
            candidates: ours, as in SDP.
        """
        lines = [
            "v=0",
            "o=- 1 2 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            "a=group:BUNDLE " + " ".join(section.value("mid") for section in self._sections),
            "a=msid-semantic:WMS *",
        ]
        for section in self._sections:
            lines += self._answered(section)
            lines += [f"a=ice-ufrag:{username}", f"a=ice-pwd:{password}"]
            lines += [f"a={candidate}" for candidate in candidates] + ["a=end-of-candidates"]
            lines += [
                f"a=fingerprint:sha-256 {fingerprint}",
                "a=setup:active",
                f"a=mid:{section.value('mid')}",
            ]
        return "\r\n".join(lines) + "\r\n"

    def _answered(self, section: _Section) -> list[str]:
        if section.kind == "application":
            return [section.head, "c=IN IP4 0.0.0.0", "a=sctp-port:5000", "a=max-message-size:262144"]
        codecs = section.codecs()
        numbers = [str(number) for number in codecs] or [section.head.split(" ")[3]]
        lines = [
            f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(numbers)}",
            "c=IN IP4 0.0.0.0",
            "a=rtcp:9 IN IP4 0.0.0.0",
            "a=rtcp-mux",
            "a=recvonly" if section.sends and codecs else "a=inactive",
        ]
        for name in ("rtpmap", "fmtp"):
            for value in section.values(name):
                if value.split(" ")[0] in numbers:
                    lines.append(f"a={name}:{value}")
        if section.kind == "video":
            lines += [f"a=rtcp-fb:{number} {feedback}" for number in numbers for feedback in _FEEDBACK]
        else:
            lines += [f"a=rtcp-fb:{number} nack" for number in numbers]
        return lines


def _first(lines: list[str], prefix: str) -> str:
    return next((line[len(prefix) :] for line in lines if line.startswith(prefix)), "")
