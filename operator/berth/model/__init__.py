# SPDX-License-Identifier: Apache-2.0
"""Frozen values that mirror ``resource.k8s.io/v1`` and the parts of the core API that Berth reads.

No behaviour beyond validity and comparison, no JSON (that is ``berth.codec``), no I/O. Fields keep
the API's names in snake case, enumerations the API's spelling.
"""
