# SPDX-License-Identifier: Apache-2.0
"""Random and mutated inputs for the parts of Berth that read what users write.

Everything follows from a seed. How many inputs a run tries is BERTH_FUZZ, as a multiple of the
small run of the ordinary tests.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.support.cel_vectors import CASES, VECTORS, cases

SECONDS = 1.0
"""Time that one input may take on a processor."""

_WORDS = """
device . .? [ [? ] ( ) { } ? : , && || ! - + * / % == != < <= > >= in x y 1 0 -1 1u 1.5
attributes capacity driver allowMultipleAllocations has all exists exists_one map filter
sortBy transformList transformMap transformMapEntry cel bind optMap optFlatMap size
matches find findAll quantity semver ip cidr url isURL format named validate type string
int uint double bytes bool duration timestamp dyn optional of none or orValue hasValue
value contains startsWith split join replace substring charAt indexOf sum min max sort
distinct flatten slice reverse lists range sets contains equivalent intersects first
includes isSorted compareTo isGreaterThan add sub sign asInteger true false null getHours
getFullYear getQuery masked containsIP major strings quote namespace `a-b`
"""
_TOKENS = (
    *_WORDS.split(),
    '"a"', "'b'", 'b"c"', 'r"\\d"', '"""d"""', '"driver.example.com"', '"model"', '"64Gi"', '"(a"',
    "9223372036854775807", "0x7f", "1e308", '"\\u00e9"', '"\\', "//", "\n", "\t", "é", "😀", "\x00",
    '"2024-02-30T00:00:00Z"', '"Europe/Berlin"', '"10.0.0.0/8"', '"%s%d"',
    'device.attributes["driver.example.com"]', 'device.capacity["driver.example.com"]',
)  # fmt: skip
_REPEATED = (
    ("(", "true", ")"),
    ("!(", "true", ")"),
    ("[", "1", "]"),
    ("{1: ", "1", "}"),
    ("dyn(", "1", ")"),
    ("-", "1", ""),
    ("!", "true", ""),
    ("true ? ", "true", " : false"),
    ("[1, 2].all(x, ", "true", ")"),
    ("[1, 2].map(x, ", "1", ")"),
    ("cel.bind(x, ", "1", ", x)"),
    ("device.driver", ' == ""', ".size()"),
    ("1 + ", "1", ""),
    ("true && ", "true", ""),
    ("[1,2,3,4,5,6,7,8].exists(a, ", "a > 9", ")"),
    ("lists.range(1000).map(i, ", "i", ")"),
    ('"aaaaaaaa".replace("a", ', '"aaaaaaaa"', ")"),
    ("[", "1", ", 2].sort()"),
    ("optional.of(", "1", ")"),
    ('"%s".format([', "1", "])"),
    ("[1, 2].exists(x, ", 'device.attributes["driver.example.com"].nope', ")"),
    ("[1, 2].filter(x, ", "x > 1", ").map(y, y > 1)"),
    ("cel.bind(x, [", "1", "], [x, x] == [x, x])"),
    ("cel.bind(x, dyn([", "1", ", 1]), x == x)"),
    ("optional.of(1).optMap(x, ", "x", ").orValue(1)"),
    ("{1: ", "1", "}.transformMap(k, v, v)"),
    ("", "true", "|| true"),
    ("", "false", "|| false || 1/0 == 1"),
)
_TEN = "[0,1,2,3,4,5,6,7,8,9]"
_DRIVER = 'device.attributes["driver.example.com"]'
_RANGES = (
    _TEN,
    _TEN,
    "lists.range(1000)",
    "lists.range(300000)",
    "l",
    "l",
    "m",
    "device.attributes",
)
_LOOPS = (
    "{}.all({}, {})", "{}.exists({}, {})", "{}.exists_one({}, {})", "{}.filter({}, {}).size() == 0",
    "{}.map({}, {}).size() > 0", "{}.map({}, false, {}).size() == 0", "{}.all(i, {}, {})",
    "{}.transformList(i, {}, {}).size() == 0", "{}.transformMap(i, {}, {}).size() == 0",
    "{}.transformMap(i, {}, false, {}).size() == 0", "{}.sortBy({}, {}).size() == 0",
)  # fmt: skip
_PIECES = ('"a"', '"1"', '"a&"', '"a."', "string(z)", '"%"', '"/"', '""')
_BODIES = (
    "x >= 0", "x > 9", "1 / 0 == x", "x / 0 == x / 0", "l == l", "n == n", "x in l", "x in m",
    "m[x] == x", "l[x] == x", "(l + l).size() > 0", "[n].flatten().size() > 0", "false", "true",
    "x in [1, 2]", f"{_DRIVER}.nope", f"has({_DRIVER}.nope.x)", f"{_DRIVER}.?nope.orValue(1) == 1",
    'int("a" + string(x)) == 1', '"%.999f%s".format([1.0, n]) == ""', "s.matches('(a|aa)+$')",
    's.matches("(.{1000})(.{900})z")',
    's.findAll("a?").size() == 0', 's.replace("", "b").size() == 0', 's.split("").size() == 0',
    's.contains(s + "b")', "[s, s, s].join(s).size() == 0", "quantity(string(x)) == quantity(s)",
    'quantity("1e4000").add(quantity("1")).isInteger()', "semver(s).major() == x", "isURL(s)",
    'ip("2001:db8::1").isGlobalUnicast()', 'cidr("10.0.0.0/8").containsIP(s)', "isQuantity(s)",
    'timestamp(x).getHours("Europe/Berlin") == 1', 'timestamp(x).getDate("no/zone") == 1',
    'url("https://a/?" + s).getQuery().size() == 0', "l.indexOf(x) == 0", "l.sum() == x",
    "n.distinct().size() == 0", "sets.equivalent(n, n)", "sets.contains(l, l)", "l.min() == x",
    "[x, x, x].sort().size() == 0", "optional.of(x).optMap(y, y > 9).orValue(false)", "l != l",
    "cel.bind(y, x, y > 9)", "true ? x > 9 : x > 8", '"" == ""', "n in dyn(n)", "dyn(x) == s",
)  # fmt: skip


def scale() -> int:
    """Return how many times the small run is to be made."""
    return int(os.environ.get("BERTH_FUZZ", "1"))


def timed(run: Callable[[], object]) -> float:
    """Return the seconds of processor time that ``run`` takes; what is slow has a second try.

    The second one is not slowed down by tables that are built once, or a crowded computer.
    """
    seconds = 0.0
    for _ in range(2):
        start = time.process_time()
        run()
        seconds = time.process_time() - start
        if seconds < SECONDS:
            break
    return seconds


def expressions(seed: int, count: int) -> Iterator[str]:
    """Yield different CEL texts: mutated recorded ones, sequences of tokens, noise, and two kinds
    that are meant to take long: repetitions, and loops around what is slow or free of cost.
    """
    rng = random.Random(seed)
    known = [case["expr"] for file in (CASES, VECTORS / "cel-random.jsonl") for case in cases(file)]
    makers: tuple[Callable[[random.Random, Sequence[str]], str], ...] = (
        *(_mutated,) * 12, *(_spliced,) * 7, *(_tokens,) * 6, *(_noise,) * 3, _repeated, _heavy,
    )  # fmt: skip
    seen: set[bytes] = set()
    while len(seen) < count:
        text = rng.choice(makers)(rng, known)
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
        if digest not in seen:
            seen.add(digest)
            yield text


def objects(seed: int, count: int) -> Iterator[tuple[str, Any]]:
    """Yield mutated API objects with their kinds, as the recorded cases have them."""
    rng = random.Random(seed)
    known = list(_recorded_objects())
    for _ in range(count):
        kind, original = rng.choice(known)
        value = copy.deepcopy(original)
        for _ in range(rng.randint(1, 4)):
            value = _changed(rng, value)
        yield kind, value


def _recorded_objects() -> Iterator[tuple[str, Any]]:
    text = (VECTORS / "allocator-cases.jsonl").read_text(encoding="utf-8")
    for line in text.splitlines():
        case = json.loads(line)
        yield "Node", case["node"]
        for kind, key in (("DeviceClass", "classes"), ("ResourceSlice", "slices")):
            yield from ((kind, each) for each in case[key])
        for claim in case["claims"]:
            yield "ResourceClaim", claim
            yield "ResourceClaimTemplate", {"metadata": claim["metadata"], "spec": claim}
            yield "Pod", _pod(claim["metadata"]["name"])
            yield "DeviceTaintRule", _taint_rule()
            yield "AllocationPolicy", {"metadata": {"name": "a"}, "spec": {"selector": {}}}
        yield from (("AllocationResult", each) for each in case.get("results", ()))


def _pod(claim: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": "100m", "memory": "1Gi"}, "claims": [{"name": "c"}]}
    port = {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}},
        "spec": {
            "schedulerName": "default-scheduler",
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
            "resourceClaims": [{"name": "c", "resourceClaimName": claim}],
            "containers": [{"name": "x", "image": "i", "resources": resources, "ports": [port]}],
        },
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]},
    }


def _taint_rule() -> dict[str, Any]:
    taint = {"key": "k", "value": "v", "effect": "NoExecute"}
    selector = {"driver": "driver-a", "pool": "pool-1", "device": "device-1"}
    return {"metadata": {"name": "r"}, "spec": {"deviceSelector": selector, "taint": taint}}


_STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 63, -(1 << 70), 1.5, float("nan"), "", "x", "é" * 300, "1e9999",
    "9" * 5000, "1Ki", "-1", "a/b/c", "\x00", "\ud800", [], {}, [None], [[]], {"": None},
    {"cel": {"expression": "("}}, {"name": "a"}, [{"name": "a"}, {"name": "a"}], "All", "In",
    "NoExecute", {"string": "a", "int": 1}, {"version": "1"}, {"value": "10Gi"},
)  # fmt: skip


def _changed(rng: random.Random, value: Any) -> Any:
    """Return ``value`` with one thing in it changed, removed, added or repeated."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.02:
        return copy.deepcopy(rng.choice(_STRANGE))
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    what = rng.random()
    if what < 0.7:
        value[key] = _changed(rng, value[key])
    elif what < 0.8:
        del value[key]
    elif isinstance(value, dict):
        name = key if what < 0.9 else rng.choice(("name", "spec", "status", "count", "x", "", key))
        value[name] = copy.deepcopy(rng.choice(_STRANGE))
    else:
        value.extend(copy.deepcopy(value[key]) for _ in range(rng.choice((1, 1, 1, 40))))
    return value


def _mutated(rng: random.Random, known: Sequence[str]) -> str:
    text = rng.choice(known)
    for _ in range(rng.randint(1, 4)):
        start = rng.randint(0, len(text))
        end = min(len(text), start + rng.choice((0, 0, 1, 2, 5, 20)))
        text = (
            text[:start] + rng.choice(("", rng.choice(_TOKENS), text[start:end] * 2)) + text[end:]
        )
    return text


def _spliced(rng: random.Random, known: Sequence[str]) -> str:
    first, second = rng.choice(known), rng.choice(known)
    operator = rng.choice((" && ", " || ", " == ", " in ", " + ", " ? true : "))
    if rng.random() < 0.5:
        return f"({first}){operator}({second})"
    return first[: rng.randint(0, len(first))] + second[rng.randint(0, len(second)) :]


def _tokens(rng: random.Random, _known: Sequence[str]) -> str:
    return rng.choice(("", " ")).join(rng.choices(_TOKENS, k=rng.randint(1, 30)))


def _repeated(rng: random.Random, known: Sequence[str]) -> str:
    before, middle, after = rng.choice(_REPEATED)
    if rng.random() < 0.3:
        middle = rng.choice(known)
    count = rng.choice((1, 3, 6, 9, 20, 60, 120, 200, 248, 251, 1000))
    text = before * count + middle + after * count
    return text + rng.choice(("", "", " == 1", " || true", ".size() > 0"))


def _heavy(rng: random.Random, _known: Sequence[str]) -> str:
    """Return loops inside each other around bodies that may take longer than they cost."""
    bodies = rng.choices(_BODIES, k=rng.choice((1, 1, 2, 4, 30)))
    text = rng.choice((" && ", " || ")).join(f"({body})" for body in bodies)
    outermost = rng.choice((1, 2, 4, 6, 8))
    for depth in range(outermost):
        name = "x" if depth == outermost - 1 or rng.random() < 0.5 else f"x{depth}"
        text = rng.choice(_LOOPS).format(rng.choice(_RANGES), name, text)
    if rng.random() < 0.3:
        text = rng.choice((" && ", " || ")).join([f"({text})"] * rng.choice((2, 10, 50)))
    large = rng.choice((10, 1000, 100_000))
    bound = {
        "l": f"lists.range({large})",
        "m": f"lists.range({min(large, 9000)}).transformMap(j, z, z)",
        "n": rng.choice(("[l, l]", "[[l], [l]]", "[[[1]], [l]]", "[{1: l}]")),
        "s": f"lists.range({min(large, 9000)}).map(z, {rng.choice(_PIECES)}).join()",
    }
    for name, value in reversed(bound.items()):
        text = f"cel.bind({name}, {value}, {text})"
    if rng.random() < 0.3:
        # A list that doubles with each name, at the same cost.
        times = rng.choice((10, 25, 60))
        doubled = "cel.bind(n, [n, n], " * times + "cel.bind(s, "
        text = text.replace("cel.bind(s, ", doubled, 1) + ")" * times
    return text


def _noise(rng: random.Random, _known: Sequence[str]) -> str:
    alphabet = rng.choice(("()[]{}", "\"'\\bru", "0123456789.eExuU+-", "".join(_TOKENS)))
    return "".join(rng.choices(alphabet, k=rng.choice((1, 3, 10, 50, 300, 3000, 11_000))))
