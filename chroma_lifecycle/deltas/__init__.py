"""Vectors coming in: every form of delta, checked, as rows.

An address (``addresses``) names files in a source (``sources``); ``open`` recognises their form,
reads it a few records at a time (``parquet``, ``jsonl``, ``archive``, and for Chroma directories a
child process), checks every record (``checks``, ``metadata``), and writes them to one local file
(``records``), which a ``Delta`` (``model``) hands out in batches. ``writer`` makes the same file
for the jobs that embed.
"""
