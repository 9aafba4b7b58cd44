"""Versions in stores: HEAD, publish, restore, mirror, history."""
