"""Events in, changes out: envelopes, the mapping language, decoding."""
