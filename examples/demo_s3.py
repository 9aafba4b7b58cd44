"""The demo with its store in S3: ``make demo-s3`` starts a server that speaks S3 and runs it there."""

from __future__ import annotations

import logging
import os

import boto3
from moto.server import ThreadedMotoServer

from examples import demo

BUCKET = "demo"


def main() -> None:
    """Start the server on a free port, make a bucket, run the demo."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # The SDK's own variables: the product knows no others.
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_DEFAULT_REGION": "us-east-1",
            "STORE": f"s3://{BUCKET}/snapshots",
        }
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        demo.main()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
