"""The ledger of facts, and the plan that follows from it."""
