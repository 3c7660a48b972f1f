"""Who called: nothing that a caller writes may stand for what the tunnel says."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.pipeline.limits import UNKNOWN, forwarded_for, is_address_allowed, is_loopback

ANYTHING = st.text(st.characters(max_codepoint=255), max_size=60)
ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["10.0.0.1, 198.51.100.7"], "198.51.100.7"),
        (["10.0.0.1", "198.51.100.7"], "198.51.100.7"),
        (["10.0.0.1,198.51.100.7\t "], "198.51.100.7"),
        (["198.51.100.7:51234"], "198.51.100.7"),
        (["2001:DB8::7"], "2001:db8::7"),
        (["[2001:db8::7]:443"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7,"], UNKNOWN),
        ([""], UNKNOWN),
        (["unknown"], UNKNOWN),
        (["_hidden"], UNKNOWN),
        (["198.51.100"], UNKNOWN),
        (["198.51.100.07"], UNKNOWN),
        (["0x7f.0.0.1"], UNKNOWN),
        (["3325256711"], UNKNOWN),
        (["198.51.100.7/24"], UNKNOWN),
        (["198.51.100.7;10.0.0.1"], UNKNOWN),
        (["198.51.100.7 10.0.0.1"], UNKNOWN),
        (["[198.51.100.7"], UNKNOWN),
        (["[2001:db8::7]x"], UNKNOWN),
        (["198.51.100.7:80:80"], UNKNOWN),
        (["١٩٨.51.100.7"], UNKNOWN),
        (["\xff\xfe"], UNKNOWN),
    ],
)
def test_the_last_entry_counts_or_nobody_does(values, address):
    assert forwarded_for(values) == address


@given(st.lists(ANYTHING), ANYTHING, ADDRESSES)
def test_what_a_caller_writes_before_it_changes_nothing(spoofed, joined, real):
    assert forwarded_for([*spoofed, f"{joined}, {real}"]) == forwarded_for([real])
    assert forwarded_for([*spoofed, real]) == forwarded_for([real]) != UNKNOWN


@given(st.lists(ANYTHING))
def test_any_header_gives_an_address_or_unknown(values):
    found = forwarded_for(values)
    assert found == UNKNOWN or ip_address(found)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_this_computer_is_known_in_every_spelling(peer):
    assert is_loopback(peer)


@pytest.mark.parametrize("peer", ["", "10.0.0.1", "localhost", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0", UNKNOWN])
def test_nobody_else_is_this_computer(peer):
    assert not is_loopback(peer)


@pytest.mark.parametrize(
    ("caller", "network", "inside"),
    [
        ("10.0.0.7", "10.0.0.0/24", True),
        ("10.0.1.7", "10.0.0.0/24", False),
        ("::ffff:10.0.0.7", "10.0.0.0/24", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db9::1", "2001:db8::/32", False),
        ("10.0.0.7", "::/0", False),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("fe80::1%eth0", "fe80::/10", True),
        (UNKNOWN, "0.0.0.0/0", False),
        ("", "::/0", False),
    ],
)
def test_an_address_is_in_its_networks_alone(caller, network, inside):
    assert is_address_allowed(caller, (ip_network(network),)) is inside


@given(ADDRESSES, st.lists(st.ip_addresses(v=4).map(lambda one: ip_network(f"{one}/20", strict=False)), max_size=3))
def test_membership_is_what_the_standard_library_says(caller, networks):
    address = ip_address(caller)
    plain = getattr(address, "ipv4_mapped", None) or address
    assert is_address_allowed(caller, tuple(networks)) == any(plain in network for network in networks)
