"""Reads what clients offer and answer, writes our answers and offers: only what can be forwarded is taken.

Source: RFC 9429 section 5 (offers and answers), RFC 8843 (BUNDLE), RFC 8853 (simulcast), RFC 8839 (ICE).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

MID: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID: Final = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
LEVEL: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
# Which layer a packet is of; Chromium decodes AV1 of several layers with it only.
DESCRIPTOR: Final = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
MAX_MESSAGE_BYTES: Final = 65_535  # of a data channel's, as LiveKit says it
MOST_SECTIONS: Final = 1_000
_FORWARDED: Final = {"opus": "audio", "vp8": "video", "vp9": "video", "h264": "video", "h265": "video"} | {
    "av1": "video"
}
# What tells apart the variants of a codec, and what is meant where it is not said.
_VARIANT: Final = {
    "h264": ("packetization-mode", "0"),
    "h265": ("profile-id", "1"),
    "vp9": ("profile-id", "0"),
    "av1": ("profile", "0"),
}
_FEEDBACK: Final = {"video": ("ccm fir", "nack", "nack pli", "goog-remb"), "audio": ("nack",)}
_LAYERS: Final = ("q", "h", "f")  # LiveKit's names of simulcast layers, the top last


class SdpError(Exception):
    """A client's session description cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One codec as SDP names it; ``mime`` is LiveKit's form of it (``video/VP8``)."""

    mime: str
    rate: int  # ticks a second
    encoding: str  # of the rtpmap
    fmtp: str = ""

    @property
    def name(self) -> str:
        """Its name in lower case."""
        return self.mime.partition("/")[2].lower()

    @property
    def is_svc(self) -> bool:
        """Whether clients send all layers in one stream, in which none can be refused."""
        return self.name in ("vp9", "av1")

    def parameter(self, name: str, default: str = "") -> str:
        """Give one parameter of its fmtp."""
        pairs = (one.strip().partition("=") for one in self.fmtp.split(";"))
        return next((value for key, _, value in pairs if key == name), default)

    def asked(self, *, dtx: bool, stereo: bool) -> Codec:
        """Give it as it stands in the answer to who sends Opus: clients leave both to the server."""
        if self.name != "opus":
            return self
        kept = [one for one in self.fmtp.split(";") if one.partition("=")[0] not in ("usedtx", "stereo", "")]
        wanted = ["usedtx=1"] * dtx + ["stereo=1"] * stereo
        return replace(self, fmtp=";".join(kept + wanted))

    def decodes(self, other: Codec) -> bool:
        """Whether who decodes this decodes ``other``; an H.264 profile more is not looked at."""
        key, default = _VARIANT.get(self.name, ("", ""))
        same = (self.name, self.rate) == (other.name, other.rate)
        return same and self.parameter(key, default) == other.parameter(key, default)


def find_codec(codecs: Mapping[int, Codec], wanted: Codec) -> int | None:
    """Give the payload type that decodes ``wanted``, the same H.264 profile before another."""
    suited = [number for number, codec in codecs.items() if codec.decodes(wanted)]
    profile = wanted.parameter("profile-level-id")[:4]
    return min(
        suited, key=lambda number: codecs[number].parameter("profile-level-id")[:4] != profile, default=None
    )


@dataclass(slots=True)
class Section:
    """One media section of a description."""

    kind: str
    head: str
    lines: list[str] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        """Give the values of an attribute."""
        prefix = f"a={name}:"
        return [line[len(prefix) :] for line in self.lines if line.startswith(prefix)]

    def value(self, name: str) -> str:
        """Give the first value of an attribute, or nothing."""
        return next(iter(self.values(name)), "")

    @property
    def mid(self) -> str:
        """Its name in the description."""
        return self.value("mid")

    @property
    def is_rejected(self) -> bool:
        """Whether it is closed; port 0 alone does not say so."""
        return self.head.split(" ")[1] == "0" and "a=bundle-only" not in self.lines

    @property
    def sends(self) -> bool:
        """Whether its writer sends."""
        return not {"a=recvonly", "a=inactive"} & set(self.lines)

    @property
    def receives(self) -> bool:
        """Whether its writer receives."""
        return not {"a=sendonly", "a=inactive"} & set(self.lines)

    @property
    def cid(self) -> str:
        """What the client calls the track that it sends."""
        parts = self.value("msid").split(" ")
        return parts[1] if len(parts) > 1 else ""

    def codecs(self) -> dict[int, Codec]:
        """Give what can be forwarded by payload type, the writer's favourite first."""
        formats = dict(one.split(" ", 1) for one in self.values("fmtp") if " " in one)
        named = dict(one.split(" ", 1) for one in self.values("rtpmap") if " " in one)
        taken = {}
        for number in self.head.split(" ")[3:]:
            name, _, rest = named.get(number, "").partition("/")
            if _FORWARDED.get(name.lower()) == self.kind and 0 <= _number(number) < 128:
                rate = _number(rest.partition("/")[0])
                taken[_number(number)] = Codec(
                    mime=f"{self.kind}/{name}",
                    rate=rate,
                    encoding=named[number],
                    fmtp=formats.get(number, ""),
                )
        return taken

    def extension(self, uri: str) -> int:
        """Give the number of a header extension, 0 for none."""
        said = (one.split(" ") for one in self.values("extmap"))
        numbers = (_number(one[0].partition("/")[0]) for one in said if one[1:2] == [uri])
        return next((number for number in numbers if 0 < number < 15), 0)

    def extensions(self) -> dict[str, int]:
        """Give the header extensions that are read; clients never offer again what was refused once."""
        numbers = {uri: self.extension(uri) for uri in (MID, RID, LEVEL, DESCRIPTOR)}
        return {uri: number for uri, number in numbers.items() if number}

    def ssrcs(self) -> list[int]:
        """Give the streams of media, not of repair, the top layer last."""
        groups = [one.split(" ") for one in self.values("ssrc-group")]
        repair = {ssrc for one in groups if one[0] == "FID" for ssrc in one[2:]}
        named = dict.fromkeys(one.split(" ")[0] for one in self.values("ssrc"))
        return [_number(one) for one in named if one not in repair and _number(one) >= 0]

    def layers(self) -> list[str]:
        """Give the names of the simulcast layers that are offered, the best last."""
        names = [one.split(" ")[0] for one in self.values("rid") if one.split(" ")[1:2] == ["send"]]
        return sorted(names, key=lambda name: _LAYERS.index(name) if name in _LAYERS else -1)


class Description:
    """What a client offered or answered.

    Attributes:
        sections: its media sections.
        username: the writer's for ICE; another one is an ICE restart.
        fingerprints: (algorithm, value) of the writer's certificate.

    Raises:
        SdpError: it says nothing that can be connected to.
    """

    def __init__(self, text: str) -> None:
        self._session: list[str] = []
        self.sections: list[Section] = []
        for line in text.replace("\r\n", "\n").split("\n"):
            if line.startswith("m="):
                self.sections.append(Section(line[2:].split(" ", 1)[0], line))
                if len(line.split(" ")) < 4 or len(self.sections) > MOST_SECTIONS:
                    raise SdpError(f"media section {len(self.sections)} cannot be read")
            elif line:
                (self.sections[-1].lines if self.sections else self._session).append(line)
        mids = [section.mid for section in self.sections]
        if not mids or "" in mids or len(set(mids)) < len(mids):
            raise SdpError(f"{len(mids)} media sections without a name of their own each")
        self.username = self._first("ice-ufrag")
        algorithm, _, print_ = self._first("fingerprint").partition(" ")
        self.fingerprints = [(algorithm, print_)]
        if not (self.username and print_):
            raise SdpError("no ICE credentials or no certificate's fingerprint")

    def _first(self, name: str) -> str:
        lines = [*self._session, *(line for one in self.sections for line in one.lines)]
        return next((line[len(name) + 3 :] for line in lines if line.startswith(f"a={name}:")), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Our end of a connection."""

    username: str
    password: str
    fingerprint: str  # sha-256
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one media section is for, seen from us."""

    direction: str = "inactive"
    codecs: Mapping[int, Codec] = field(default_factory=dict)
    extensions: Mapping[str, int] = field(default_factory=dict)
    rids: Sequence[str] = ()  # the layers that are taken
    msid: str = ""  # "stream track", of what we send
    ssrc: int = 0


def describe(local: Local, sections: Iterable[tuple[str, str, Use | None]], *, is_offer: bool = False) -> str:
    """Write an offer or an answer.

    Args:
        local: our end.
        sections: kind, mid and use of each; None for one that is refused.
        is_offer: whether the client may choose who begins with DTLS; else it has to.
    """
    listed = list(sections)
    mids = [mid for _, mid, use in listed if use is not None]
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE " + " ".join(mids)]
    lines += ["a=ice-lite", "a=extmap-allow-mixed", "a=msid-semantic:WMS *"]
    candidate = f"a=candidate:1 1 udp 2130706431 {local.host} {local.port} typ host"
    ends = [
        f"a=ice-ufrag:{local.username}",
        f"a=ice-pwd:{local.password}",
        f"a=fingerprint:sha-256 {local.fingerprint}",
        f"a=setup:{'actpass' if is_offer else 'passive'}",
        *(candidate, "a=end-of-candidates"),
    ]
    for kind, mid, use in listed:
        if kind == "application":
            port = 0 if use is None else 9
            lines += [f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 127.0.0.1"]
            lines += ["a=sctp-port:5000", f"a=max-message-size:{MAX_MESSAGE_BYTES}", f"a=mid:{mid}"]
        else:
            lines += [*_media(kind, use), f"a=mid:{mid}"]
        lines += ends if use is not None else []
    return "\r\n".join(lines) + "\r\n"


def _media(kind: str, use: Use | None) -> list[str]:
    if use is None:
        return [f"m={kind} 0 UDP/TLS/RTP/SAVPF 0", "c=IN IP4 127.0.0.1", "a=inactive"]
    numbers = " ".join(map(str, use.codecs)) or "0"
    lines = [f"m={kind} 9 UDP/TLS/RTP/SAVPF {numbers}", "c=IN IP4 127.0.0.1", f"a={use.direction}"]
    lines += ["a=rtcp-mux", "a=rtcp-rsize"]
    for number, codec in use.codecs.items():
        lines.append(f"a=rtpmap:{number} {codec.encoding}")
        lines += [f"a=fmtp:{number} {codec.fmtp}"] if codec.fmtp else []
        lines += [f"a=rtcp-fb:{number} {feedback}" for feedback in _FEEDBACK[kind]]
    lines += [f"a=extmap:{number} {uri}" for uri, number in use.extensions.items()]
    if use.rids:
        lines += [f"a=rid:{rid} recv" for rid in use.rids] + [f"a=simulcast:recv {';'.join(use.rids)}"]
    if use.msid:
        lines += [f"a=msid:{use.msid}", f"a=ssrc:{use.ssrc} cname:{use.msid.split(' ')[0]}"]
        lines += [f"a=ssrc:{use.ssrc} msid:{use.msid}"]
    return lines


def numbered(codec: Codec, taken: dict[int, Codec]) -> int:
    """Give the payload type of a codec in an offer of ours, a new one if need be.

    Raises:
        SdpError: none is left.
    """
    for number, other in taken.items():
        if other == codec:
            return number
    free: Sequence[int] = [number for number in range(96, 128) if number not in taken]
    if not free:
        raise SdpError("32 codecs are in use; there are no more payload types")
    taken[free[0]] = codec
    return free[0]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else -1
