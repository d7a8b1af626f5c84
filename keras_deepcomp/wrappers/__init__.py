"""Layers that compute with other values in place of their weights."""
