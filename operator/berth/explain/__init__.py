# SPDX-License-Identifier: Apache-2.0
"""From typed rejections to a conflict tree, and from the tree to text and JSON.

Does no I/O, reads no clock, logs nothing, and decides no allocation: every "no" that is put in
words here was said by ``berth.engine`` or ``berth.placement`` before.
"""
