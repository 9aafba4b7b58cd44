"""Remove from an installed tree what the function never loads.

    python3 image/slim.py DIRECTORY

Each entry below says why it can go. That the rest is enough is not believed but tested: the end-to-end
scripts run whole cycles in the finished image (scripts/e2e/).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# Services that the function, its tracer and the command line speak to; botocore describes some four hundred.
SERVICES = {"dynamodb", "dynamodbstreams", "lambda", "pipes", "s3", "sqs", "sso", "sso-oidc", "sts", "xray"}

UNUSED = (
    # Arrow's servers, other file formats and remote file systems: deltas are read as local files.
    "pyarrow/*flight*", "pyarrow/*_orc*", "pyarrow/*hdfs*", "pyarrow/*_s3*", "pyarrow/*gcsfs*",
    "pyarrow/*azurefs*",
    # Copies of one library under the names that only a compiler asks for (a wheel cannot hold links).
    "pyarrow/libarrow_python*.so", "pyarrow/libarrow_python*.so.*.*.*",
    # The second implementation, for Python interpreters that cannot load the first.
    "zstandard/_cffi*",
    # What compiling against a library and testing it need.
    "pyarrow/include*", "pyarrow/src", "pyarrow/*cpp_tests*", "pyarrow/*.p[xy][dix]", "numpy/f2py",
    "numpy/_core/include", "numpy/_core/lib", "numpy/random/lib", "numpy/_core/*_tests.*.so", "**/tests",
    "chromadb/test", "**/*.pyi", "bin",
)  # fmt: skip


def main(root: Path) -> None:
    """Remove, and say how much."""
    before = size_bytes(root)
    for pattern in UNUSED:
        for found in list(root.glob(pattern)):
            remove(found)
    for service in (root / "botocore" / "data").iterdir():
        if service.is_dir() and service.name not in SERVICES:
            remove(service)
    sys.stdout.write(f"{before / 1e6:.0f} MB installed, {size_bytes(root) / 1e6:.0f} MB kept\n")


def remove(path: Path) -> None:
    """Delete a file or a whole directory."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_bytes(root: Path) -> int:
    """Return the size of all files below *root*."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
