# SPDX-License-Identifier: Apache-2.0
"""The cluster in memory: the ledger, its indexes, assumed allocations, and what to decide again.

Decides what is in use and whose answer may have changed; never who gets what. Does no I/O and
reads no clock: events go in one by one, and each costs time in proportion to itself.
"""
