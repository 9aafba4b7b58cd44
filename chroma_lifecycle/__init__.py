"""Keeps Chroma directories in step with a DynamoDB table, and loses nothing doing it."""
