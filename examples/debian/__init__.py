"""Real packages, their vectors, and the events that the demo tells."""
