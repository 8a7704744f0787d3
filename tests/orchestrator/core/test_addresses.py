"""Which addresses may be called: the ranges at their edges, addresses in addresses, and URLs by their text.

`tests/invariants/test_ssrf.py` shows the same on real connections, with many more spellings.
"""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from orchestrator.core.addresses import MAX_URL, Reach, address_problem, check_url, reach_of, shown

PUBLIC = """
1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0
198.17.255.255 198.20.0.0 198.51.99.255 203.0.112.255 223.255.255.255 2606:4700:4700::1111
2001:4860:4860::8888 2001:200:: 2003:: 3ffe:ffff:: ::ffff:8.8.8.8 64:ff9b::808:808
"""
PRIVATE = """
10.0.0.0 10.255.255.255 100.64.0.0 100.64.0.1 100.127.255.255 127.0.0.0 127.0.0.1 127.255.255.255
172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.255 192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255
198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.255 ::1 fc00::
fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fec0::1 2001:db8::1 3fff::1 100::1 5f00::1
2001:0:808:808::f7f7:f7f7 2001:2::1 4000::1 ::ffff:10.0.0.1 ::127.0.0.1 ::8.8.8.8 64:ff9b::10.0.0.1
64:ff9b::127.0.0.1 64:ff9b:1::8.8.8.8 2002:7f00:1:: 2002:808:808::
::ffff:0:127.0.0.1 2001:4860:4860::5efe:10.0.0.1
2001:4860:4860::200:5efe:127.0.0.1
"""
NEVER = """
0.0.0.0 0.255.255.255 169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255 224.0.0.0
239.255.255.255 240.0.0.1 255.255.255.255 100.100.100.200 168.63.129.16 192.0.0.192 :: fe80::1
fe80::a9fe:a9fe fe80::1%eth0 febf:ffff:: ff00:: ff02::1 ff0e::1 fd00:ec2::254 fd00:ec2::23
fd20:ce::254 fd00:42::42 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::169.254.169.254 64:ff9b::a9fe:a9fe
64:ff9b:1::a9fe:a9fe 64:ff9b:1:a9fe:a9:fe00:: 2002:a9fe:a9fe::1 2001:0:a9fe:a9fe::
2001:0:808:808:0:0:5601:5601 ::ffff:0:169.254.169.254 2001:4860::5efe:169.254.169.254
"""
BY_REACH: dict[Reach, str] = {"public": PUBLIC, "private": PRIVATE, "never": NEVER}


@pytest.mark.parametrize(
    ("address", "reach"), [(address, reach) for reach, many in BY_REACH.items() for address in many.split()]
)
def test_an_address_is_what_the_registries_say(address: str, reach: Reach) -> None:
    assert reach_of(address) == reach


@pytest.mark.parametrize(
    "address", ["", "localhost", "127.1", "0x7f.0.0.1", "127.0.0.01", "①.0.0.1", "[::1]"]
)
def test_what_is_no_address_in_its_usual_form_is_not_guessed(address: str) -> None:
    with pytest.raises(ValueError):
        reach_of(address)
    assert address_problem(address, allow_private=True) == "is no IP address in its usual form"


@given(st.ip_addresses())
def test_nothing_that_the_library_calls_special_is_public(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    is_special = ip.is_private or ip.is_multicast or ip.is_reserved or ip.is_link_local or ip.is_unspecified
    is_nat64 = ip in ipaddress.ip_network("64:ff9b::/96")
    if is_special and not is_nat64 and getattr(ip, "ipv4_mapped", None) is None:
        assert reach_of(str(ip)) != "public"


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_address_that_it_maps(ip: ipaddress.IPv4Address) -> None:
    assert reach_of(f"::ffff:{ip}") == reach_of(str(ip))


def test_what_is_never_called_is_not_called_whatever_is_allowed() -> None:
    assert address_problem("127.0.0.1", allow_private=True) is None
    assert "allow_private_endpoints = true" in str(address_problem("127.0.0.1", allow_private=False))
    for allow_private in (True, False):
        assert address_problem("8.8.8.8", allow_private=allow_private) is None
        assert "never called" in str(address_problem("169.254.169.254", allow_private=allow_private))


GOOD = """
http://example.org https://example.org HTTP://EXAMPLE.ORG:80/ http://my_worker:8001/base/path
http://a http://xn--bcher-kva.example http://example.org. http://8.8.8.8:65535
http://[2606:4700::1111]:443/x https://example.org/hook?key=value&other=%20x http://1a.example.org
http://a-b.c http://example.org/@b
"""


@pytest.mark.parametrize("url", GOOD.split())
def test_a_usual_url_is_taken_and_means_to_the_client_what_it_means_here(url: str) -> None:
    check_url(url, allow_private=False)
    host = url.partition("://")[2].partition("/")[0].lower()
    assert f"{URL(url).host_subcomponent}:{URL(url).port}".startswith(host.partition("?")[0])


def test_a_name_of_this_machine_is_private() -> None:
    for url in ("http://localhost", "http://LOCALHOST.:80", "http://a.localhost/"):
        check_url(url, allow_private=True)
        with pytest.raises(ValueError, match="this machine"):
            check_url(url, allow_private=False)


def test_the_sentence_names_value_limit_and_fix() -> None:
    for url, sentence in {
        "http://10.0.0.1": "'http://10.0.0.1' leads to an address that is not public; "
        "set [network] allow_private_endpoints = true to allow that",
        "http://a:0": "'http://a:0' has port 0; give 1 to 65535",
        "http://u:secret@a": "'http://…@a' holds a user name or password; leave it out",
        "http://2130706433": "'http://2130706433' has a host that is no IPv4 address in its usual form; "
        "write four numbers like 192.0.2.1",
        "http://" + "a" * 300: "'http://" + "a" * 93 + "…' has a host of 300 characters; the limit is 253",
    }.items():
        with pytest.raises(ValueError) as raised:
            check_url(url, allow_private=False)
        assert str(raised.value) == sentence
    with pytest.raises(ValueError, match=f"the limit is {MAX_URL}"):
        check_url("http://a/" + "a" * MAX_URL, allow_private=True)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://user:secret@host/a?b", "'http://…@host/a'"),
        ("http://user:sec?ret@host", "'http://…@host'"),
        ("user:secret@host", "'…@host'"),
        ("http://host/#secret", "'http://host/'"),
        ("http://a\r\nX: y", "'http://a\\r\\nX: y'"),
        ("http://" + "a" * 200, "'http://" + "a" * 93 + "…'"),
    ],
)
def test_a_shown_url_is_one_short_line_without_secrets(url: str, text: str) -> None:
    assert shown(url) == text
