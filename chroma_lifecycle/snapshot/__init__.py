"""A version as files: workspace, page digests, manifest, object names, the sealed snapshot."""
