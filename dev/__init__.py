"""The whole pipeline on one machine: ``make dev``, and what the end-to-end tests are built from.

What AWS would run is either a real engine here or played by a small module::

    table and stream     DynamoDB Local           dynamodb_local.py  table.py  stream.py
    EventBridge Pipes    played                   pipe.py
    SQS, S3              moto's server            moto.py  queues.py
    event source mapping played                   queue_source.py  stream_source.py
    Lambda               the handler in processes of its own, two at a time     workers.py  worker.py

:mod:`dev.pipeline` puts them together.
"""
