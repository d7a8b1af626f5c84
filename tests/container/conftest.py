"""Hypothesis without time limits: a slow machine is no failure."""

from hypothesis import settings

settings.register_profile("container", deadline=None)
settings.load_profile("container")
