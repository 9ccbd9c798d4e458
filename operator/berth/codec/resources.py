# SPDX-License-Identifier: Apache-2.0
"""What a pod asks of its node: resources and host ports.

Sums as kube-scheduler does: init containers run one after the other, sidecars beside all that
follow them, overhead comes on top. Not counted: what a running pod was resized to in its status.

Source: ``k8s.io/component-helpers`` resource.PodRequests; KEP-753 (sidecars), KEP-2837 (pod-level
resources), KEP-5004 (extended resources), kube-scheduler's NodePorts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from berth.codec.fields import Json, child, integer, optional_part, part, parts, quantities, text
from berth.codec.nodes import whole_amount
from berth.model.pods import DEVICE_CLASS_PREFIX, ExtendedRequest, HostPort
from berth.quantity import Quantity

_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - the API's wildcard, not an address to listen on
_Amounts = dict[str, Quantity]


def decode_requests(spec: Json) -> Mapping[str, int]:
    """Return what a pod with ``spec`` asks for, ``cpu`` in milli-units, else whole units."""
    total = _sum(parts(spec, "containers", _container))
    if spec.get("initContainers"):
        total = _with_init_containers(spec, total)
    if spec.get("resources"):
        pod_level = part(spec, "resources", lambda r: quantities(r, "requests"))
        total.update((r, amount) for r, amount in pod_level.items() if _is_pod_level(r))
    if spec.get("overhead"):
        _add(total, quantities(spec, "overhead"))
    return MappingProxyType({r: whole_amount(r, amount) for r, amount in total.items()})


def decode_extended_requests(spec: Json) -> tuple[ExtendedRequest, ...]:
    """Return the extended resource requests of a pod with ``spec``, in order of its containers."""
    containers = parts(spec, "initContainers", _container) + parts(spec, "containers", _container)
    return tuple(
        ExtendedRequest(index, position, resource, count)
        for index, requests in enumerate(containers)
        for position, resource in enumerate(sorted(requests))
        if _is_extended(resource) and (count := whole_amount(resource, requests[resource])) > 0
    )


def decode_host_ports(spec: Json) -> tuple[HostPort, ...]:
    """Return the host ports that a pod with ``spec`` occupies, in the order of its containers."""
    host_network = bool(spec.get("hostNetwork"))

    def ports(container: Json) -> tuple[HostPort, ...]:
        if not container.get("ports"):
            return ()
        found = parts(container, "ports", lambda port: _host_port(port, host_network=host_network))
        return tuple(port for port in found if port is not None)

    def sidecar_ports(container: Json) -> tuple[HostPort, ...]:
        return ports(container) if _is_sidecar(container) else ()

    containers = parts(spec, "containers", ports) + parts(spec, "initContainers", sidecar_ports)
    return tuple(port for container in containers for port in container)


def _host_port(obj: Json, *, host_network: bool) -> HostPort | None:
    # On the host's network the API server sets hostPort to containerPort.
    number = integer(obj, "hostPort") or (integer(obj, "containerPort") if host_network else 0)
    if not number:
        return None
    return HostPort(text(obj, "protocol") or "TCP", number, text(obj, "hostIP") or _ANY_ADDRESS)


def _container(obj: Json) -> Mapping[str, Quantity]:
    return optional_part(obj, "resources", _with_defaults) or {}


def _with_defaults(obj: Json) -> Mapping[str, Quantity]:
    requests = quantities(obj, "requests")
    # As the API server defaults them; matters for files that no API server has seen.
    missing = child(obj, "limits").keys() - requests.keys()
    if not missing:
        return requests
    limits = quantities(obj, "limits")
    return {**{r: limits[r] for r in sorted(missing)}, **requests}


def _with_init_containers(spec: Json, containers: _Amounts) -> _Amounts:
    total, sidecars, peak = containers, _Amounts(), _Amounts()
    for is_sidecar, requests in parts(
        spec, "initContainers", lambda c: (_is_sidecar(c), _container(c))
    ):
        if is_sidecar:
            _add(total, requests)
            _add(sidecars, requests)
            _raise_to(peak, sidecars)
        else:
            _raise_to(peak, _sum((sidecars, requests)))
    _raise_to(total, peak)
    return total


def _is_sidecar(container: Json) -> bool:
    return text(container, "restartPolicy") == "Always"


def _is_extended(resource: str) -> bool:
    # `requests.` begins the names of quotas, which no container can ask for.
    return resource.startswith(DEVICE_CLASS_PREFIX) or (
        "/" in resource
        and "kubernetes.io/" not in resource
        and not resource.startswith("requests.")
    )


def _is_pod_level(resource: str) -> bool:
    return resource in {"cpu", "memory"} or resource.startswith("hugepages-")


def _sum(summands: Iterable[Mapping[str, Quantity]]) -> _Amounts:
    total = _Amounts()
    for summand in summands:
        _add(total, summand)
    return total


def _add(total: _Amounts, summand: Mapping[str, Quantity]) -> None:
    for resource, amount in summand.items():
        total[resource] = total[resource] + amount if resource in total else amount


def _raise_to(total: _Amounts, floor: Mapping[str, Quantity]) -> None:
    for resource, amount in floor.items():
        if resource not in total or total[resource] < amount:
            total[resource] = amount
