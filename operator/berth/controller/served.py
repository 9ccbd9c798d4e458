# SPDX-License-Identifier: Apache-2.0
"""Which versions of the API a cluster serves, and so which of them Berth speaks.

The one place that decides it: at start-up, once, for the operator and for every verb on a live
cluster. The answer is a value; paths, handlers, informers and bodies take it from there. A kind
that is missing degrades one feature, in words that say what is lost and what would bring it back;
only without claims, classes and slices is there nothing to do.

Source: Kubernetes API discovery; ``resource.k8s.io`` v1 since 1.34, v1beta2 since 1.33, v1beta1
since 1.32; DeviceTaintRule in v1alpha3 (1.33 to 1.35), v1beta2 (1.36) and v1 (1.37);
MutatingAdmissionPolicy in v1 since 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from berth.codec.versions import GROUP, V1, VERSIONS
from berth.controller.api import ApiClient
from berth.controller.apierrors import ApiError, NotServedError
from berth.model.features import Features

RULE_VERSIONS = (V1, "v1beta2", "v1alpha3")
"""In which DeviceTaintRules are read, likewise; all have the same shape."""
CORE_KINDS = frozenset(
    {"deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"}
)
BINDING_SINCE = (1, 36)
"""The first release with binding conditions (KEP-5007) on by default."""
ADMISSION = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Served:
    """What one API server serves; the default is what Kubernetes 1.37 does."""

    resources: str = V1
    """Version of claims, templates, classes and slices."""
    taint_rules: str | None = V1
    """Version of DeviceTaintRules, ``None`` where there are none."""
    policies: bool = True
    """Whether MutatingAdmissionPolicies exist, so that the gate needs no webhook."""
    release: tuple[int, int] = (1, 37)
    """Major and minor version of Kubernetes."""

    @property
    def features(self) -> Features:
        """Return what the allocator can count on.

        Feature gates cannot be asked for, and where one is off the API server drops its fields, so
        that nothing is lost by honouring them. Binding conditions alone show in what is *not*
        there: before 1.36 they are off, and then an allocation without a timestamp is in order.
        """
        return Features(device_binding_and_status=self.release >= BINDING_SINCE)

    def version_of(self, plural: str) -> str | None:
        """Return the version of one kind of the group, ``None`` where it is not served."""
        return self.taint_rules if plural == "devicetaintrules" else self.resources

    def path_of(self, plural: str) -> str | None:
        """Return where a kind of the group is listed over all namespaces."""
        version = self.version_of(plural)
        return None if version is None else f"/apis/{GROUP}/{version}/{plural}"

    def degraded(self) -> tuple[str, ...]:
        """Return what is not as on the newest release, one sentence each."""
        found = []
        if self.resources != V1:
            found.append(
                f"{GROUP}/{V1} is not served: {self.resources} is read and written in its place"
            )
        if self.taint_rules is None:
            found.append(
                "DeviceTaintRules are not served: taints count only where drivers publish them, "
                "and no device can be fenced by a rule; they come with Kubernetes 1.37, and "
                "before with feature gates DRADeviceTaints and DRADeviceTaintRules and "
                f"--runtime-config={GROUP}/v1beta2=true (1.36) or {GROUP}/v1alpha3=true (1.35)"
            )
        if not self.features.device_binding_and_status:
            found.append(
                "binding conditions are off before Kubernetes 1.36: devices that have some are "
                "left alone"
            )
        if not self.policies:
            found.append(
                "MutatingAdmissionPolicies are not served in v1: the gate needs Berth's webhook "
                "(chart value `gate.by`); they come with Kubernetes 1.36"
            )
        return tuple(found)


async def discover(api: ApiClient) -> Served:
    """Ask the API server what it serves.

    Raises:
        NotServedError: If no version has all that Berth cannot work without.
        ApiError: If the API server refuses to tell.
        Unreachable: If no answer came.
    """
    group = await _found(api, f"/apis/{GROUP}")
    offered = {each.get("version", "") for each in group.get("versions") or ()}
    kinds = {
        version: await _kinds(api, f"{GROUP}/{version}")
        for version in dict.fromkeys((*VERSIONS, *RULE_VERSIONS))
        if version in offered
    }
    for version in VERSIONS:
        if kinds.get(version, frozenset()) >= CORE_KINDS:
            break
    else:
        raise NotServedError(f"{GROUP}/{V1}", "resourceclaims")
    rules = [each for each in RULE_VERSIONS if "devicetaintrules" in kinds.get(each, ())]
    policies = "mutatingadmissionpolicies" in await _kinds(api, ADMISSION)
    return Served(version, rules[0] if rules else None, policies, await _release(api))


async def _release(api: ApiClient) -> tuple[int, int]:
    """Return the version; some distributions write the minor one as ``34+``."""
    found = await api.get("/version")
    major, minor = (str(found.get(key, "")).rstrip("+") for key in ("major", "minor"))
    if not (major.isdigit() and minor.isdigit()):
        return Served().release
    return int(major), int(minor)


async def _kinds(api: ApiClient, group_version: str) -> frozenset[str]:
    found = await _found(api, f"/apis/{group_version}")
    return frozenset(each.get("name", "") for each in found.get("resources") or ())


async def _found(api: ApiClient, path: str) -> Mapping[str, Any]:
    try:
        return await api.get(path)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return {}
        raise
