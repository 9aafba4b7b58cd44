"""The page about a collection: its history as values, health checks, charts, one HTML file."""
