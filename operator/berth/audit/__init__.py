# SPDX-License-Identifier: Apache-2.0
"""What is wrong in the cluster, whoever did it: devices given twice, leaks, objects that hang.

Decides what is a fault, by looking at the ledger alone. Never repairs, reads no clock, does no
I/O: the time is an argument, and a repair is a value that somebody else may carry out.
"""
