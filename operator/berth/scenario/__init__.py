# SPDX-License-Identifier: Apache-2.0
"""Files to clusters and questions: dumps, manifests and scenario files, read and written.

Texts go in and values come out; who opens files and asks API servers is ``berth.cli``. Never
decides what fits.
"""
