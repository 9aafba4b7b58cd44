"""What the image leaves out, tried where it is quick: in a process that cannot import it."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

from tests.template.conftest import ROOT

# Import names of image/left-out.txt, and the modules that image/slim.py removes.
GONE = [
    "kubernetes", "onnxruntime", "tokenizers", "uvicorn", "pyarrow._flight", "pyarrow._s3fs", "pyarrow._gcsfs",
    "pyarrow._azurefs", "pyarrow._hdfs", "pyarrow._orc", "zstandard._cffi", "numpy.f2py",
]  # fmt: skip

PROGRAM = """
import importlib, pkgutil, sys, tempfile

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name in GONE:
            raise ModuleNotFoundError(f"{name} is left out of the image", name=name)

GONE = set(sys.argv[1:])
sys.meta_path.insert(0, Gone())

import chroma_lifecycle, handler
for package in (chroma_lifecycle, handler):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)

import chromadb, numpy, pyarrow.parquet, zstandard
client = chromadb.PersistentClient(tempfile.mkdtemp(), chromadb.Settings(anonymized_telemetry=False))
words = client.create_collection("words", embedding_function=None)
words.upsert(ids=["a", "b"], embeddings=numpy.eye(2, dtype="f4"), documents=["x", "y"], metadatas=[{"n": 1}, {"n": 2}])
words.update(ids=["a"], metadatas=[{"n": None, "m": True}])
words.delete(ids=["b"])
assert [["a"]] == words.query(query_embeddings=[[1.0, 0.0]], n_results=1)["ids"]
print("whole")
"""


@pytest.mark.parametrize("mapping", ["mapping.yaml", "mine/mapping.yaml", "examples/debian/mapping.yaml"])
def test_the_build_is_given_a_users_mapping_and_nothing_private(tmp_path: Path, mapping: str) -> None:
    """Where the tutorial and the example have theirs; what lies beside it stays out of the image's context."""
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (mapping, "mine/secret.json", ".aws-sam/build.yaml", ".env", "handler/app.py", "tests/x.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    given = exclude_paths(str(tmp_path), [line for line in patterns if not line.startswith("#")])

    files = {name for name in given if (tmp_path / name).is_file()}
    assert {mapping, "handler/app.py"} == files - {"Dockerfile", ".dockerignore"}


def left_out() -> list[str]:
    """Return the packages that image/left-out.txt names."""
    lines = (ROOT / "image" / "left-out.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_nothing_needs_what_the_image_leaves_out() -> None:
    """Every module of this project is imported, and Chroma writes, merges, deletes and answers, without it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *GONE], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert ("whole\n", 0) == (done.stdout, done.returncode), done.stderr[-2_000:]
    assert set(left_out()) <= set(GONE)


def test_every_service_that_is_spoken_to_is_kept() -> None:
    """The command line runs in the image too; of a service that was left out, the SDK knows no call."""
    called = {
        node.args[0].value
        for path in (ROOT / "chroma_lifecycle").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "make_client"
        if isinstance(node.args[0], ast.Constant)
    }

    assert {"s3", "dynamodb", "lambda"} <= called
    assert called <= runpy.run_path(str(ROOT / "image" / "slim.py"))["SERVICES"]


def test_no_dependency_of_this_project_is_left_out() -> None:
    """Only what comes along with others may go."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[^a-z0-9-]", each.lower())[0] for each in project["dependencies"]}

    assert set() == wanted & set(left_out())


def test_an_edit_of_the_code_leaves_the_large_layer_alone() -> None:
    """What is needed is finished before the code is looked at, and goes first into the image: 300 MB that stay."""
    build, _, final = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")
    first, second = re.findall(r"COPY --from=build (\S+)", final)
    before, _, after = build.partition("\nCOPY chroma_lifecycle")

    assert f"--target {first} " in before
    assert f"--target {second} " in after
    assert first not in after


def test_the_image_speaks_to_nobody_on_its_own() -> None:
    """No telemetry, no model hub, in the stage that is deployed."""
    final = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]

    for setting in ("ANONYMIZED_TELEMETRY=False", "OTEL_SDK_DISABLED=true", "HF_HUB_OFFLINE=1"):
        assert setting in final
    assert 'CMD ["handler.app.lambda_handler"]' in final
