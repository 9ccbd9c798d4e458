# SPDX-License-Identifier: Apache-2.0
"""Which node, and which of the possible device sets: node filters, first fit, pack, spread.

Does no I/O, reads no clock, logs nothing; the devices themselves are chosen by ``berth.engine``.
"""
