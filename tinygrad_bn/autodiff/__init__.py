"""Derivatives: the sweep backwards through what was remembered, and the functions built on it."""
