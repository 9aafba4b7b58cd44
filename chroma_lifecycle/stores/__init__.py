"""The store on a mounted directory."""
