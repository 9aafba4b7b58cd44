"""LlamaIndex's own Chroma integration on what is published: each retrieval is answered by the newest version."""

from llama_index.core import VectorStoreIndex
from llama_index.vector_stores.chroma import ChromaVectorStore

from chroma_lifecycle.reader import SnapshotReader


def open_index(reader: SnapshotReader, embed_model) -> VectorStoreIndex:
    """Return an index to retrieve from; *embed_model* is the model that embedded the records."""
    collection = reader.client().get_collection("words")
    return VectorStoreIndex.from_vector_store(ChromaVectorStore(chroma_collection=collection), embed_model=embed_model)
