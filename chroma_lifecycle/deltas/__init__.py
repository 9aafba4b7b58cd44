"""Vectors coming in: every form of delta, checked, as rows."""
