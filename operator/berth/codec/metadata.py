# SPDX-License-Identifier: Apache-2.0
"""The parts of ``metadata`` that Berth reads of every kind.

Source: ``meta/v1`` ObjectMeta.
"""

from __future__ import annotations

from berth.codec.fields import Json, boolean, text, unique_text
from berth.model.claims import OwnerReference


def decode_owner(obj: Json) -> OwnerReference:
    """Return one entry of ``ownerReferences``."""
    return OwnerReference(
        kind=text(obj, "kind"),
        name=unique_text(obj, "name"),
        uid=unique_text(obj, "uid"),
        controller=boolean(obj, "controller"),
    )
