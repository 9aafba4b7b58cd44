"""What a cycle costs, beside what others do: ``make bench`` measures and writes ``docs/benchmarks.md``.

::

    sizes       how large the snapshots are, and how often each thing is measured
    receipts    the input: words of receipts as records, and the stream records that change them
    servers     S3 (moto) and a server held to a rate, each in a process of its own
    site        a published snapshot on that server, made once for each size and kept below .work/
    figures     medians and ratios of what was measured by turns
    cycles, opponents, cold, tails, closing, rounds, memory    the parts that are measured
    page, charts    docs/benchmarks.md and its pictures, from docs/benchmarks.json and nothing else
"""
