# SPDX-License-Identifier: Apache-2.0
"""Which of two states of an object is the newer.

Source: KEP-5504 (resource versions of one kind compare as integers).
"""

from __future__ import annotations


def is_older(version: str, known: str) -> bool:
    """Tell whether ``version`` is certainly older than ``known``.

    Versions of another form than digits cannot be compared: then the answer is no, so that what
    came last counts.
    """
    return version.isdecimal() and known.isdecimal() and int(version) < int(known)
