"""A Lambda function that answers queries."""
