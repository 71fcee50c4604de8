"""Fit a network, score it, compare it."""
