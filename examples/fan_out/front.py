"""The function that is asked: it asks the function of every part, side by side, and merges what is nearest.

It needs nothing but boto3. FUNCTIONS names the functions of the parts in their order, with commas.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

FUNCTIONS = os.environ["FUNCTIONS"].split(",")
functions = boto3.client("lambda", config=Config(read_timeout=20, retries={"total_max_attempts": 2}))
threads = ThreadPoolExecutor(len(FUNCTIONS))


class PartMissingError(Exception):
    """A part did not answer, so nobody can say what is nearest."""


def lambda_handler(event, _context):
    """Return the nearest records of all parts.

    With ``"partial": true`` parts may be missing from the answer; ``missing`` then says which, and why.
    """
    answers, missing = ask(event)
    if len({answer["layout"] for answer in answers}) > 1:  # the collection was cut anew a moment ago
        answers, missing = ask({**event, "again": True})
    if missing and not (event.get("partial") and answers):
        raise PartMissingError("; ".join(f"{name}: {why}" for name, why in missing.items()))
    if len({answer["layout"] for answer in answers}) > 1:
        raise PartMissingError("the parts are of two layouts; ask again")
    fields = ("distances", "ids", "documents")
    rows = sorted(row for answer in answers for row in zip(*(answer[field] for field in fields), strict=True))
    _, ids, documents = zip(*rows[: event.get("limit", 10)], strict=True) if rows else ((), (), ())
    return {"ids": list(ids), "documents": list(documents), "missing": missing}


def ask(event):
    """Return the answers of the parts, and why other parts have none."""
    told = dict(zip(FUNCTIONS, threads.map(invoke, range(len(FUNCTIONS)), [event] * len(FUNCTIONS)), strict=True))
    missing = {name: why for name, why in told.items() if isinstance(why, str)}
    return [answer for answer in told.values() if not isinstance(answer, str)], missing


def invoke(number, event):
    """Return what the function of a part answers, or why it does not."""
    try:
        answer = functions.invoke(FunctionName=FUNCTIONS[number], Payload=json.dumps(event))
        told = json.load(answer["Payload"])
    except (BotoCoreError, ClientError) as problem:
        return str(problem)
    if "FunctionError" in answer:
        return told["errorMessage"]
    is_it = told["part"] == [number, len(FUNCTIONS)]
    return told if is_it else f"it is part {told['part'][0]} of {told['part'][1]}, not {number} of {len(FUNCTIONS)}"
