# SPDX-License-Identifier: Apache-2.0
"""What a tenant can send that is legal and means harm: costly, hopeless, and made to break output.

Everything here was accepted by an API server.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.kube_access import Json
from tests.support.manifests import GPU_CLASS, claim, device_request

ESCAPES = "\x1b[31mred\x1b]0;title\x07 [bold]markup[/bold] {braces} %s\r\nINJECTED level=error"
LONG_NAME = "x" * 200
DRIVER_ATTRIBUTES = f"device.attributes['{GPU_CLASS}']"


def _numbers(first: int, count: int) -> str:
    return f"[{','.join(str(first + each) for each in range(count))}]"


def at_the_cost_limit(number: int) -> str:
    """Return a selector that is false on every device, costs nearly a million units on each."""
    attributes = DRIVER_ATTRIBUTES
    return (
        f"{_numbers(number, 280)}.all(x, {_numbers(0, 280)}.all(y, "
        f"x + y >= 0 && {attributes}.index >= 0)) && {attributes}.uuid == 'none-{number}'"
    )


def _costly(number: int) -> Json:
    return claim("", device_request(device_class=GPU_CLASS, selectors=[at_the_cost_limit(number)]))


def _never(number: int) -> Json:
    text = f"{DRIVER_ATTRIBUTES}.model == '[bold]none{number}[/bold] \\u001b[31m'"
    return claim("", device_request(device_class=GPU_CLASS, selectors=[text]))


def _hard(number: int) -> Json:
    """Six devices that agree in what differs on all of them: a search through every choice."""
    requests = [device_request(f"r{each}", device_class=GPU_CLASS) for each in range(6)]
    attribute = f"{GPU_CLASS}/uuid"
    constraints = [{"requests": [], "matchAttribute": attribute}]
    return claim("", *requests, constraints=constraints)


def _failing(number: int) -> Json:
    """A selector whose error would print what its author likes."""
    text = f"{DRIVER_ATTRIBUTES}.missing{number} == '{number}' //\x1b[2J\n// [red]"
    return claim("", device_request(device_class=GPU_CLASS, selectors=[text]))


KINDS: tuple[Callable[[int], Json], ...] = (_costly, _never, _hard, _failing)


def hostile_claim(number: int) -> Json:
    """Return the ``number``-th claim, without a name."""
    made = KINDS[number % len(KINDS)](number)
    made["metadata"]["annotations"] = {"note": ESCAPES}
    parameters = {"kind": ESCAPES, "list": [ESCAPES] * 5}
    made["spec"]["devices"]["config"] = [
        {"opaque": {"driver": GPU_CLASS, "parameters": parameters}},
    ]
    return made
