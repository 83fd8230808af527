"""Losses: pure functions to one float32 scalar, the mean over the batch.

They import no model: a loss that needs features takes a feature function.
"""
