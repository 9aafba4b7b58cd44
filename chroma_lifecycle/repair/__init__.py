"""Mending by hand: back to an older version, forward again, and in step with the table."""
