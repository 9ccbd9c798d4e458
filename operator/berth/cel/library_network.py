# SPDX-License-Identifier: Apache-2.0
"""IP addresses and networks: Kubernetes' ip and cidr libraries.

Zones and IPv4 addresses inside IPv6 ones are not accepted.

Source: ``k8s.io/apiserver/pkg/cel/library/ip.go`` and ``cidr.go``; Go ``net/netip``.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TypeAlias

from berth.cel.equality import Opaque
from berth.cel.overloads import Overload, function, member
from berth.cel.types import BOOL, CIDR, INT, IP, STRING
from berth.cel.values import register_type
from berth.errors import CelRuntimeError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")
_LINK_LOCAL_V4 = ipaddress.IPv4Network("224.0.0.0/24")
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


class IpValue(Opaque):
    """An IP address."""

    __slots__ = ("address",)

    def __init__(self, address: Address) -> None:
        self.address = address

    def same(self, other: IpValue) -> bool:
        """Tell whether the addresses are equal."""
        return self.address == other.address


class CidrValue(Opaque):
    """A network; the host part of its address is kept."""

    __slots__ = ("address", "length")

    def __init__(self, address: Address, length: int) -> None:
        self.address = address
        self.length = length

    def same(self, other: CidrValue) -> bool:
        """Tell whether addresses, host parts and lengths are equal."""
        return self.address == other.address and self.length == other.length

    def network(self) -> int:
        """Return the leading bits that addresses of this network share."""
        return int(self.address) >> (self.address.max_prefixlen - self.length)

    def covers(self, address: Address, length: int) -> bool:
        """Tell whether the network that starts at ``address`` lies inside this one."""
        if address.version != self.address.version or length < self.length:
            return False
        return int(address) >> (address.max_prefixlen - self.length) == self.network()


register_type(IpValue, "net.IP")
register_type(CidrValue, "net.CIDR")


def _address(text: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise CelRuntimeError(f"`{text[:64]}` is no IP address") from None
    if "%" in text:
        raise CelRuntimeError(f"`{text[:64]}`: IP address with zone value is not allowed")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise CelRuntimeError(f"`{text[:64]}`: IPv4-mapped IPv6 address is not allowed")
    return address


def _ip(text: str) -> IpValue:
    return IpValue(_address(text))


def _cidr(text: str) -> CidrValue:
    base, _, length = text.rpartition("/")
    if _LENGTH.fullmatch(length) is None:
        raise CelRuntimeError(f"`{text[:64]}` is no network in CIDR notation")
    address = _address(base)
    if int(length) > address.max_prefixlen:
        raise CelRuntimeError(f"`{text[:64]}`: the prefix is longer than the address")
    return CidrValue(address, int(length))


def _is_ip(text: str) -> bool:
    try:
        _address(text)
    except CelRuntimeError:
        return False
    return True


def _is_cidr(text: str) -> bool:
    try:
        _cidr(text)
    except CelRuntimeError:
        return False
    return True


def _is_canonical(text: str) -> bool:
    return str(_address(text)) == text


def _link_local_multicast(value: IpValue) -> bool:
    address = value.address
    if isinstance(address, ipaddress.IPv4Address):
        return address in _LINK_LOCAL_V4
    return int(address) >> 112 & 0xFF0F == 0xFF02


def _global_unicast(value: IpValue) -> bool:
    address = value.address
    return not (
        address.is_unspecified
        or address == _BROADCAST
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
    )


def _contains_ip(network: CidrValue, value: IpValue) -> bool:
    return network.covers(value.address, value.address.max_prefixlen)


def _contains_ip_text(network: CidrValue, text: str) -> bool:
    return _contains_ip(network, _ip(text))


def _contains_cidr(network: CidrValue, other: CidrValue) -> bool:
    return network.covers(other.address, other.length)


def _contains_cidr_text(network: CidrValue, text: str) -> bool:
    return _contains_cidr(network, _cidr(text))


def _masked(network: CidrValue) -> CidrValue:
    shift = network.address.max_prefixlen - network.length
    start = type(network.address)(network.network() << shift)
    return CidrValue(start, network.length)


OVERLOADS: tuple[Overload, ...] = (
    function("ip", (STRING,), IP, _ip),
    member("ip", (CIDR,), IP, lambda network: IpValue(network.address)),
    function("isIP", (STRING,), BOOL, _is_ip),
    function("ip.isCanonical", (STRING,), BOOL, _is_canonical),
    function("string", (IP,), STRING, lambda value: str(value.address)),
    member("family", (IP,), INT, lambda value: value.address.version),
    member("isUnspecified", (IP,), BOOL, lambda value: value.address.is_unspecified),
    member("isLoopback", (IP,), BOOL, lambda value: value.address.is_loopback),
    member("isLinkLocalMulticast", (IP,), BOOL, _link_local_multicast),
    member("isLinkLocalUnicast", (IP,), BOOL, lambda value: value.address.is_link_local),
    member("isGlobalUnicast", (IP,), BOOL, _global_unicast),
    function("cidr", (STRING,), CIDR, _cidr),
    function("isCIDR", (STRING,), BOOL, _is_cidr),
    function("string", (CIDR,), STRING, lambda value: f"{value.address}/{value.length}"),
    member("containsIP", (CIDR, STRING), BOOL, _contains_ip_text),
    member("containsIP", (CIDR, IP), BOOL, _contains_ip),
    member("containsCIDR", (CIDR, STRING), BOOL, _contains_cidr_text),
    member("containsCIDR", (CIDR, CIDR), BOOL, _contains_cidr),
    member("masked", (CIDR,), CIDR, _masked),
    member("prefixLength", (CIDR,), INT, lambda network: network.length),
)
