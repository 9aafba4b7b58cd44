"""The managed client: open exclusively, apply, close, prove. The only importer of chromadb."""
