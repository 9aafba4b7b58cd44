"""LangChain's own Chroma integration on what is published: each search is answered by the newest version."""

from langchain_chroma import Chroma

from chroma_lifecycle.reader import SnapshotReader


def open_store(reader: SnapshotReader, embeddings) -> Chroma:
    """Return a vector store for any chain; *embeddings* is the model that embedded the records."""
    return Chroma(
        client=reader.client(),
        collection_name="words",
        embedding_function=embeddings,
        create_collection_if_not_exists=False,
    )
