"""Events in, changes out: envelopes, the mapping language, decoding.

``envelopes`` opens an event into stream records (``records``; ``flat`` makes them of older messages);
``mapping`` says which rule takes an item (``mapping_file`` reads it from YAML); ``decode`` makes of both
the ``changes`` that everything after works with.
"""
