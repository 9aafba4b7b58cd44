"""What a cycle takes on of a batch: what it has time for, and what does not spoil the rest."""
