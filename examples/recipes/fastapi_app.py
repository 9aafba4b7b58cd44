"""A web service that follows what is published: ``uvicorn examples.recipes.fastapi_app:app --workers 4``."""

import asyncio
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI

from chroma_lifecycle.reader import SnapshotReader


@asynccontextmanager
async def lifespan(app):
    """Open the reader in each worker, and close it with the worker."""
    app.state.reader = SnapshotReader.open(os.environ["STORE"], "words", check_seconds=10, background=True)
    await asyncio.to_thread(app.state.reader.refresh)  # the first version is here before the first request
    yield
    await asyncio.to_thread(app.state.reader.close)


app = FastAPI(lifespan=lifespan)


@app.post("/query")
def query(vector: list[float], limit: int = 10):  # a plain `def`: FastAPI calls it in a thread
    """Return the nearest records."""
    with app.state.reader.collection() as words:
        found = words.query(query_embeddings=[vector], n_results=limit)
        return {"version": words.version, "ids": found["ids"][0], "documents": found["documents"][0]}


@app.get("/health")
def health():
    """Return what is served, how far it can be behind, and why."""
    return app.state.reader.status()
