# SPDX-License-Identifier: Apache-2.0
"""AllocationPolicies as JSON: reads the spec, writes the conditions.

Decides whether a policy can be used as it is written, and says what to change where it cannot. The
API server checks the same rules (``crds/allocationpolicies.berth.dev.yaml``); they are checked
again because a stored object may be older than the rules. Never decides what a policy covers
(``berth.model.policy``), never does I/O.

Source: ``berth.dev/v1alpha1`` AllocationPolicy; label syntax of ``apimachinery`` validation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from berth.errors import DecodeError
from berth.model.policy import (
    AllocationPolicy,
    LabelOperator,
    LabelRequirement,
    LabelSelector,
    Placement,
)

ACCEPTED = "Accepted"
"""The condition that says whether Berth uses a policy."""
REASON_VALID = "Valid"
REASON_INVALID_SELECTOR = "InvalidSelector"
REASON_INVALID_SPEC = "InvalidSpec"

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_MAX_NAME = 63
_MAX_SUBDOMAIN = 253
_MAX_ITEMS = 64

_SELECTOR_FIELD = "spec.namespaceSelector"
_KINDS = MappingProxyType(
    {
        "string_type": "must be a string",
        "list_type": "must be a list",
        "dict_type": "must be an object",
        "model_type": "must be an object",
        "mapping_type": "must be an object",
        "missing": "is missing",
        "extra_forbidden": (
            "is not known to this version: it may be a restriction, so the policy cannot be used "
            "without it; correct the name or upgrade Berth"
        ),
    }
)


def _mistake(text: str) -> PydanticCustomError:
    return PydanticCustomError("policy", text)


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _MAX_SUBDOMAIN or _SUBDOMAIN.fullmatch(prefix) is None):
        raise _mistake(
            f"`{key}` is not a label key: `{prefix}` before the slash must be a DNS name in lower "
            f"case of at most {_MAX_SUBDOMAIN} characters"
        )
    if len(name) > _MAX_NAME:
        raise _mistake(
            f"`{key}` is not a label key: `{name}` has {len(name)} characters, at most "
            f"{_MAX_NAME} are allowed"
        )
    if _NAME.fullmatch(name) is None:
        raise _mistake(
            f"`{key}` is not a label key: use letters, digits, `-`, `_` and `.`, with a letter or "
            "digit first and last, and at most one slash"
        )
    return key


def _label_value(value: str) -> str:
    if len(value) > _MAX_NAME:
        raise _mistake(
            f"`{value}` is not a label value: it has {len(value)} characters, at most "
            f"{_MAX_NAME} are allowed"
        )
    if value and _NAME.fullmatch(value) is None:
        raise _mistake(
            f"`{value}` is not a label value: use letters, digits, `-`, `_` and `.`, with a letter "
            "or digit first and last"
        )
    return value


def _operator(value: object) -> object:
    if not isinstance(value, str) or value not in set(LabelOperator):
        raise _mistake(f"`{value}` is not an operator: use In, NotIn, Exists or DoesNotExist")
    return LabelOperator(value)


def _placement(value: object) -> object:
    if not isinstance(value, str) or value not in set(Placement):
        raise _mistake(f"`{value}` is not a placement: use FirstFit, Pack or Spread")
    return Placement(value)


def _name_of(what: str, longest: int) -> AfterValidator:
    def check(name: str) -> str:
        if name == "*":
            raise _mistake(f"patterns are not supported: leave the list out to cover every {what}")
        if len(name) > longest or _SUBDOMAIN.fullmatch(name) is None:
            raise _mistake(
                f"`{name}` is not the name of a {what}: use lower-case letters, digits, `-` and "
                f"`.`, with a letter or digit first and last, at most {longest} characters"
            )
        return name

    return AfterValidator(check)


def _short(items: list[str]) -> list[str]:
    if len(items) > _MAX_ITEMS:
        raise _mistake(f"has {len(items)} entries, at most {_MAX_ITEMS} are allowed")
    return items


_LabelKey = Annotated[str, AfterValidator(_label_key)]
_LabelValue = Annotated[str, AfterValidator(_label_value)]
_ClassNames = Annotated[
    list[Annotated[str, _name_of("DeviceClass", _MAX_SUBDOMAIN)]], AfterValidator(_short)
]
_DriverNames = Annotated[list[Annotated[str, _name_of("driver", 63)]], AfterValidator(_short)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)


class _Expression(_Strict):
    key: _LabelKey
    operator: Annotated[LabelOperator, BeforeValidator(_operator)]
    values: list[_LabelValue] = Field(default_factory=list)

    @model_validator(mode="after")
    def _values_fit_the_operator(self) -> _Expression:
        takes_values = self.operator in {LabelOperator.IN, LabelOperator.NOT_IN}
        if takes_values and not self.values:
            raise _mistake(
                f"operator {self.operator} of label `{self.key}` needs at least one value: list it "
                "under `values`, or use Exists or DoesNotExist"
            )
        if self.values and not takes_values:
            raise _mistake(
                f"operator {self.operator} of label `{self.key}` takes no values: leave `values` "
                "out, or use In or NotIn"
            )
        return self

    def to_model(self) -> LabelRequirement:
        return LabelRequirement(self.key, self.operator, frozenset(self.values))


class _Selector(_Strict):
    match_labels: dict[_LabelKey, _LabelValue] = Field(default_factory=dict)
    match_expressions: list[_Expression] = Field(default_factory=list)

    def to_model(self) -> LabelSelector:
        return LabelSelector(
            MappingProxyType(dict(self.match_labels)),
            tuple(each.to_model() for each in self.match_expressions),
        )


class _Spec(_Strict):
    namespace_selector: _Selector | None = None
    device_classes: _ClassNames | None = None
    drivers: _DriverNames | None = None
    placement: Annotated[Placement, BeforeValidator(_placement)] = Placement.FIRST_FIT


def decode_allocation_policy(obj: Mapping[str, Any]) -> AllocationPolicy:
    """Read an AllocationPolicy.

    Raises:
        DecodeError: If the policy cannot be used as it is written; it names the first field that
            is wrong and what to change. ``rejection_reason`` gives the condition's reason.
    """
    if not isinstance(obj, dict):
        raise DecodeError("allocationpolicy", "", "expected an object")
    metadata = obj.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise DecodeError("allocationpolicy", "metadata", "expected an object")
    name = str(metadata.get("name", ""))
    where = f"allocationpolicy {name}"
    if "spec" not in obj:
        raise DecodeError(where, "spec", _KINDS["missing"])
    try:
        spec = _Spec.model_validate(obj["spec"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise DecodeError(where, _path(first["loc"]), _detail(first)) from error
    return AllocationPolicy(
        name=name,
        generation=int(metadata.get("generation", 0)),
        namespace_selector=None
        if spec.namespace_selector is None
        else spec.namespace_selector.to_model(),
        device_classes=frozenset(spec.device_classes or ()) or None,
        drivers=frozenset(spec.drivers or ()) or None,
        placement=spec.placement,
    )


def rejection_reason(error: DecodeError) -> str:
    """Return the reason of the condition for a policy that ``error`` makes unusable."""
    in_selector = error.field == _SELECTOR_FIELD or error.field.startswith(f"{_SELECTOR_FIELD}.")
    return REASON_INVALID_SELECTOR if in_selector else REASON_INVALID_SPEC


def rejection_message(error: DecodeError) -> str:
    """Return what people read about a policy that ``error`` makes unusable, on one line."""
    return f"{error.field}: {error.detail}; the policy is not used until this is corrected"


def encode_policy_status(
    obj: Mapping[str, Any], rejected: DecodeError | None, now: str
) -> dict[str, Any] | None:
    """Return the ``status`` that reports the verdict (merge patch), or ``None`` if it is there.

    Args:
        obj: The policy as it was observed.
        rejected: Why it cannot be used, or ``None`` where it is used.
        now: The time, as ``YYYY-MM-DDTHH:MM:SSZ``; used only where the verdict turned around.

    Returns:
        Generation and conditions, those of other types included: a merge patch replaces the list.
    """
    metadata = obj.get("metadata") or {}
    status = obj.get("status") or {}
    conditions: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
    before = next((each for each in conditions if each.get("type") == ACCEPTED), None)
    generation = int(metadata.get("generation", 0))
    verdict = {
        "type": ACCEPTED,
        "status": "True" if rejected is None else "False",
        "reason": REASON_VALID if rejected is None else rejection_reason(rejected),
        "message": "Berth allocates the claims that this policy covers"
        if rejected is None
        else rejection_message(rejected),
        "observedGeneration": generation,
    }
    is_turned = before is None or before.get("status") != verdict["status"]
    verdict["lastTransitionTime"] = (
        now if before is None or is_turned else before.get("lastTransitionTime", now)
    )
    if before == verdict and status.get("observedGeneration") == generation:
        return None
    return {
        "observedGeneration": generation,
        "conditions": [
            *(dict(each) for each in conditions if each.get("type") != ACCEPTED),
            verdict,
        ],
    }


def _path(loc: tuple[int | str, ...]) -> str:
    path, before = "spec", ""
    for part in loc:
        if part == "[key]":
            # Pydantic's mark for a wrong key of a mapping; the key is named before it.
            continue
        is_item = isinstance(part, int) or before == "matchLabels"
        path += f"[{part}]" if is_item else f".{part}"
        before = str(part)
    return path


def _detail(error: ErrorDetails) -> str:
    if error["type"] == "policy":
        return error["msg"]
    detail = _KINDS.get(error["type"])
    if detail is None:
        raise AssertionError(f"unforeseen mistake {error['type']}: {error['msg']}")
    return detail
