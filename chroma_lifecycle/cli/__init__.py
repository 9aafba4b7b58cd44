"""The command line: ``chroma-lifecycle``."""

from chroma_lifecycle.cli.app import main

__all__ = ["main"]
