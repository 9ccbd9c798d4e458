# SPDX-License-Identifier: Apache-2.0
"""Which kinds Kopf feeds into the ledger, and what each event does there.

Only wiring: decode, apply or remove, and say that something changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from berth.codec.claims import decode_template
from berth.codec.policies import decode_allocation_policy
from berth.codec.slices import decode_class, decode_slice, decode_taint_rule
from berth.controller.feeds import KopfFedKind, RawObject
from berth.controller.policies import PolicyStatusWriter
from berth.errors import DecodeError
from berth.state.cluster import Cluster

RESOURCE_API = ("resource.k8s.io", "v1")
BERTH_API = ("berth.dev", "v1alpha1")
KOPF_FED = {
    "deviceclasses": RESOURCE_API,
    "resourceclaimtemplates": RESOURCE_API,
    "resourceslices": RESOURCE_API,
    "devicetaintrules": RESOURCE_API,
    "allocationpolicies": BERTH_API,
}
"""Plural → group and version of every kind that always comes through Kopf's handlers."""


def kopf_fed_kinds(
    cluster: Cluster,
    policies: PolicyStatusWriter,
    *,
    changed: Callable[[], None],
    template_changed: Callable[[str, str], None],
) -> tuple[KopfFedKind, ...]:
    """Return the kinds that Kopf's handlers feed, each with its way into ``cluster``.

    ``changed`` is called after every event that reached the ledger, ``template_changed`` with
    namespace and name of a template before that.
    """

    def applied(apply: Callable[[RawObject], None]) -> Callable[[RawObject], None]:
        def act(raw: RawObject) -> None:
            apply(raw)
            changed()

        return act

    def removed(remove: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def act(namespace: str, name: str) -> None:
            remove(namespace, name)
            changed()

        return act

    def apply_template(raw: RawObject) -> None:
        template = decode_template(raw)
        cluster.apply_template(template)
        template_changed(template.namespace, template.name)

    def apply_policy(raw: Mapping[str, Any]) -> None:
        cluster.apply_policy(decode_allocation_policy(raw))
        policies.accepted(raw)

    def nothing_more(raw: RawObject, error: DecodeError) -> None:
        """The log line of the feed is all that can be said about objects of others."""

    def kind(
        plural: str,
        apply: Callable[[RawObject], None],
        remove: Callable[[str, str], None],
        undecodable: Callable[[RawObject, DecodeError], None] = nothing_more,
        *,
        optional: bool = False,
    ) -> KopfFedKind:
        return KopfFedKind(
            *KOPF_FED[plural],
            plural,
            applied(apply),
            removed(remove),
            undecodable,
            optional=optional,
        )

    return (
        kind(
            "deviceclasses",
            lambda raw: cluster.apply_class(decode_class(raw)),
            lambda _, name: cluster.remove_class(name),
        ),
        kind(
            "resourceclaimtemplates",
            apply_template,
            cluster.remove_template,
        ),
        kind(
            "resourceslices",
            lambda raw: cluster.apply_slice(decode_slice(raw)),
            lambda _, name: cluster.remove_slice(name),
        ),
        kind(
            "devicetaintrules",
            lambda raw: cluster.apply_taint_rule(decode_taint_rule(raw)),
            lambda _, name: cluster.remove_taint_rule(name),
            optional=True,
        ),
        kind(
            "allocationpolicies",
            apply_policy,
            lambda _, name: cluster.remove_policy(name),
            policies.refused,
        ),
    )
