"""Readers in other frameworks; ``make recipes`` runs them."""
