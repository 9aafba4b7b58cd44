"""A version as files: workspace, pages and their digests, manifest, object names, the sealed snapshot."""
