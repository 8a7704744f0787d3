"""Spellings of URLs that lead, or would lead, somewhere they must not. PORT stands for the trap's port.

From livekit-facts 27, the WHATWG URL standard's host parser, RFC 3986 and 6874, and inet_aton(3).
"""
# ruff: noqa: RUF001 - letters that look like others are what this is about

from __future__ import annotations

from typing import Final

_LOOPBACK_4: Final = """
127.0.0.1 127.1 127.0.1 127.000.000.001 0127.0.0.1 0177.0.0.1 0177.0.0.01 0177.1 0x7f.0.0.1 0x7f.1
0x7F.0x0.0x0.0x1
0x7f000001 0X7F000001 0x7f.0x1 0x007f.1 2130706433 02130706433 017700000001 0000017700000001 6425673729
127.0.0.1. 127.0.0.1.. 127.1. 2130706433. 127.0.0.2 127.9.9.9 127.255.255.254 127.0.0 127.0 127 0 0. 00 0x
0x0 0.0
0.0.0.0 0.0.0.1 000.000.000.000 1.2.3 256.0.0.1 127.0.0.1.1 127..1 .127.0.0.1 -127.0.0.1 127.0.0.1-
127.0.0.256
①②⑦.⓪.⓪.① １２７.0.0.1 127。0。0。1 127．0．0．1 127｡0｡0｡1 ١٢٧.0.0.1 ⑫⑦.0.0.1 ℓocalhost ⓛⓞⓒⓐⓛⓗⓞⓢⓣ
loc\u00adalhost
127%2e0%2e0%2e1 %31%32%37.0.0.1 127.0.0.1%00 127.0.0.1%20 127.0.0.1%0d%0a 127.0.0.1%2f 127.0.0.1%23
127.0.0.1%40
localhos%74 %6cocalhost
"""
_LOOPBACK_6: Final = """
[::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0001] [0::1] [::0:1] [::ffff:127.0.0.1]
[::FFFF:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [0:0:0:0:0:ffff:7f00:0001] [::ffff:127.9.9.9]
[::127.0.0.1] [::7f00:1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::7f00:1]
[2002:7f00:1::] [2002:7f00:1::1] [2001:0:7f00:1::] [2001:0:808:808:0:0:80ff:fffe] [::] [::0]
[0:0:0:0:0:0:0:0]
[::ffff:0.0.0.0] [::ffff:0:0] [::1%lo] [::1%25lo] [::1%1] [::1%251] [fe80::1%lo] [fe80::1%25lo] [::1 ::1
::1]
[[::1]] [::1].example [::1]x x[::1] [v1.127] [127.0.0.1] [localhost] [::ffff:0x7f.1] [::ffff:127.1]
[::ffff:2130706433]
[::ffff:127.0.0.01] [::1.] [:::1] [] [%3A%3A1] [::①] [2001:db8::5efe:127.0.0.1]
"""
_NEVER: Final = """
0.0.0.0 169.254.169.254 169.254.170.2 169.254.0.1 0xa9fea9fe 0xa9.254.0251.254 2852039166 169.254.43518
100.100.100.200 168.63.129.16 192.0.0.192 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 [::] [fe80::1]
[fe80::a9fe:a9fe] [ff02::1] [ff0e::1] [fd00:ec2::254] [fd00:ec2::23] [fd20:ce::254] [::ffff:169.254.169.254]
[::ffff:a9fe:a9fe] [::169.254.169.254] [64:ff9b::a9fe:a9fe] [64:ff9b:1::a9fe:a9fe] [2002:a9fe:a9fe::]
[2001:0:a9fe:a9fe::] [::ffff:0.0.0.0] [::ffff:224.0.0.1]
"""
_PRIVATE: Final = """
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 100.64.0.1 100.127.255.255
198.18.0.1
198.19.255.255 192.0.2.1 198.51.100.1 203.0.113.1 192.0.0.8 192.88.99.1 [fc00::1] [fdff::1] [fec0::1]
[2001:db8::1]
[3fff::1] [100::1] [2001:2::1] [5f00::1] [::10.0.0.1] [::ffff:10.0.0.1] [64:ff9b::10.0.0.1] [2002:c0a8:1::]
[::ffff:192.168.0.1] 0x0a000001 0300.0250.0.1 167772161
"""
_NAMES_OF_THIS_MACHINE: Final = """
localhost LOCALHOST LocalHost localhost. a.localhost A.B.LOCALHOST. localhost.. .localhost
"""
_WHOLE: Final = (
    # the authority, misread
    "http://8.8.8.8@127.0.0.1:PORT", "http://8.8.8.8:80@127.0.0.1:PORT",
    "http://user:pa55word@127.0.0.1:PORT",
    "http://127.0.0.1:PORT@8.8.8.8", "http://:@127.0.0.1:PORT", "http://@127.0.0.1:PORT",
    "http://user:pa55/word@127.0.0.1:PORT", "http://user:pa55?word@127.0.0.1:PORT",
    "http://8.8.8.8#@127.0.0.1:PORT", "http://8.8.8.8\\@127.0.0.1:PORT", "http://127.0.0.1:PORT\\@8.8.8.8",
    "http://8.8.8.8%40127.0.0.1:PORT", "http://127.0.0.1:PORT#8.8.8.8", "http://127.0.0.1:PORT?@8.8.8.8",
    "http://127.0.0.1:PORT;8.8.8.8", "http://127.0.0.1:PORT&@8.8.8.8#@8.8.8.8",
    "http://127.0.0.1,8.8.8.8:PORT",
    "http://evil.example\\.127.0.0.1:PORT", "http://evil.example/\\@127.0.0.1:PORT",
    # slashes
    "http:///127.0.0.1:PORT", "http:/127.0.0.1:PORT", "http:127.0.0.1:PORT", "http:\\\\127.0.0.1:PORT",
    "http:/\\127.0.0.1:PORT", "//127.0.0.1:PORT", "127.0.0.1:PORT", "/127.0.0.1:PORT", "\\\\127.0.0.1:PORT",
    "http://", "http://:PORT", "http://?", "http://#", "http", "", "://127.0.0.1:PORT",
    # blanks and characters that are not seen
    " http://127.0.0.1:PORT", "http://127.0.0.1:PORT ", "http:// 127.0.0.1:PORT", "http://127.0.0.1 :PORT",
    "\thttp://127.0.0.1:PORT", "ht\ttp://127.0.0.1:PORT", "http://127.0\t.0.1:PORT",
    "http://127.0.\n0.1:PORT",
    "http://127.0.0.1:PORT\n", "http://127.0.0.1:PORT/\r\nX-Evil: yes", "http://127.0.0.1\x00:PORT",
    "\x00http://127.0.0.1:PORT", "http://127.0.0.1\x7f:PORT", "http://evil\x00.example:PORT",
    "http://evil .example:PORT",
    "http://\u200b127.0.0.1:PORT", "http://127.0.0.1\u2060:PORT", "http://\ufeff127.0.0.1:PORT",
    "http://127.0.0.1\u3000:PORT", "http://evil\u2025example:PORT", "http://b\u00fccher.example:PORT",
    "http://\u202e127.0.0.1:PORT", "http://evil.example\u2044@127.0.0.1:PORT",
    "http://evil.c\u2100.example:PORT",
    "http://evil.example:PORT/\u00e9", "http://evil.example:PORT/a b",
    'http://evil.example:PORT/"', "http://<evil>:PORT",
    # ports
    "http://127.0.0.1:0", "http://evil.example:0", "http://evil.example:00000", "http://evil.example:65536",
    "http://evil.example:99999", "http://evil.example:-1", "http://evil.example:+80",
    "http://evil.example:8o",
    "http://evil.example: 80", "http://evil.example:80:80", "http://evil.example::80",
    "http://evil.example:",
    "http://evil.example:８０", "http://evil.example:0x50", "http://evil.example:1e3",
    "http://evil.example:080000",
    # schemes
    "HTTP://127.0.0.1:PORT", "hTTpS://127.0.0.1:PORT", "https://127.0.0.1:PORT", "https://[::1]:PORT",
    "ftp://evil.example:PORT", "file:///etc/passwd", "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:PORT/_x",
    "dict://127.0.0.1:PORT/x", "ws://evil.example:PORT", "wss://evil.example:PORT", "unix:///run/x.sock",
    "http+unix://%2Frun%2Fx.sock", "data:text/plain,x", "javascript:alert(1)",
    "jar:http://127.0.0.1:PORT!/x",
    "ldap://127.0.0.1:PORT", "tftp://127.0.0.1:PORT", "mailto:a@b", "about:blank",
    "httpx://evil.example:PORT",
    "http s://evil.example:PORT", "view-source:http://127.0.0.1:PORT", "url:http://127.0.0.1:PORT",
    # hosts that are no names
    "http://" + "a" * 64 + ".example:PORT", "http://" + ".".join(["a" * 60] * 5) + ":PORT",
    "http://" + "a" * 3000,
    "http://evil..example:PORT", "http://.evil.example:PORT", "http://evil.example..:PORT",
    "http://-evil.example:PORT",
    "http://evil-.example:PORT", "http://evil.example.1:PORT", "http://evil.0x7f:PORT",
    "http://evil!.example:PORT",
    "http://*.example:PORT", "http://evil~.example:PORT", "http://(evil):PORT", "http://$(evil):PORT",
    "http://{evil}:PORT", "http://evil|example:PORT", "http://evil^example:PORT", "http://`evil`:PORT",
)  # fmt: skip

# What the text alone shows.
REFUSED_BY_TEXT: Final = (
    *(
        f"http://{host}:PORT"
        for hosts in (_LOOPBACK_4, _LOOPBACK_6, _NAMES_OF_THIS_MACHINE, _PRIVATE)
        for host in hosts.split()
    ),
    *_WHOLE,
)

# Names in good form; where they lead is only known when they are called.
_HOSTS: Final = (
    "evil.example", "EVIL.example", "evil.example.", "localhost.localdomain", "localhost4",
    "ip6-localhost",
    "ip6-loopback", "localhost.evil.example", "127.0.0.1.nip.io", "127-0-0-1.nip.io",
    "7f000001.rebind.example",
    "0x7f.1.example", "2130706433.example", "xn--bcher-kva.example", "metadata",
    "metadata.google.internal",
    "instance-data", "kubernetes.default.svc", "host.docker.internal", "a", "my_worker",
    "_evil.example",
    "a" * 63 + ".example", ".".join(["a" * 61] * 4), "1a.example", "0x7f000001z", "e2e.1x",
    "www.localhost.a",
)  # fmt: skip
NAMES: Final = (
    *(f"http://{host}:PORT" for host in _HOSTS),
    "https://evil.example:PORT", "http://evil.example:PORT/base", "http://evil.example:PORT/@127.0.0.1",
    "http://evil.example:PORT//127.0.0.1", "HTTP://evil.example:PORT",
    "http://evil.example:PORT/..;/%2e%2e/x",
)  # fmt: skip

# Refused also where loopback and private networks are allowed.
ROUTED: Final = tuple(f"http://{host}:PORT/never" for host in _NEVER.split())
