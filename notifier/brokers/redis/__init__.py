"""Nodes joined by Redis: streams keep the truth, pub/sub is the doorbell."""
