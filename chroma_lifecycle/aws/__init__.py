"""S3 and DynamoDB. The only importer of boto3."""
