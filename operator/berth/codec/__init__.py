# SPDX-License-Identifier: Apache-2.0
"""The only place that knows API JSON: objects to values of ``berth.model``, and back.

No I/O, no clock: what is written where and when is decided in ``berth.controller``.
"""
