"""Profiles of Hypothesis: ``quick`` for every run, ``soak`` for as long as one likes (`--hypothesis-profile soak`)."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile("soak", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile("quick")
