"""Where the data lies: the bucket, the table, the mirror, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cloudformation import Stack
from tests.template.conftest import KEY, NETWORK, WAYS


def test_data_outlives_the_stack(template: dict[str, Any]) -> None:
    """The table and the bucket, with its rules, are kept when the stack is deleted; the mirror is derived."""
    kept = {
        name
        for name, each in template["Resources"].items()
        if each.get("DeletionPolicy") == each.get("UpdateReplacePolicy") == "Retain"
    }

    assert {"Bucket", "BucketPolicy", "Table"} == kept


def test_the_bucket_is_closed(stack: Stack) -> None:
    """Nothing of it can be public; objects belong to the account; replaced objects are kept for a while."""
    bucket = stack.properties("Bucket")

    assert {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    } == bucket["PublicAccessBlockConfiguration"]
    assert [{"ObjectOwnership": "BucketOwnerEnforced"}] == bucket["OwnershipControls"]["Rules"]
    assert {"Status": "Enabled"} == bucket["VersioningConfiguration"]


def test_no_rule_touches_a_current_object(stack: Stack) -> None:
    """Only sweep knows what is needed; the rules clear up uploads, replaced objects and delete markers."""
    rules = {rule.pop("Id"): rule for rule in stack.properties("Bucket")["LifecycleConfiguration"]["Rules"]}

    assert {
        "unfinished-uploads": {"Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
        "replaced-and-swept": {"Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 30}},
        "delete-markers": {"Status": "Enabled", "ExpiredObjectDeleteMarker": True},
    } == rules


def test_everything_is_encrypted(defaults: Stack) -> None:
    """Without a key of one's own, AWS's keys encrypt."""
    (rule,) = defaults.properties("Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}} == rule
    assert {True} == {each["SqsManagedSseEnabled"] for each in defaults.of_type("AWS::SQS::Queue").values()}


def test_one_key_encrypts_all_data(template: dict[str, Any]) -> None:
    """With a key, the bucket, the table, the queues, the mirror and the settings use it, and every role may."""
    stack = Stack(template, WAYS["key"])
    (rule,) = stack.properties("Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    roles = [*stack.of_type("AWS::IAM::Role").values(), *stack.of_type("AWS::IAM::ManagedPolicy").values()]

    assert {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY} == rule["ServerSideEncryptionByDefault"]
    assert KEY == stack.properties("Table")["SSESpecification"]["KMSMasterKeyId"]
    assert {KEY} == {each["KmsMasterKeyId"] for each in stack.of_type("AWS::SQS::Queue").values()}
    assert KEY == stack.properties("FileSystem")["KmsKeyId"] == stack.properties("Compactor")["KmsKeyArn"]
    assert all(KEY in str(each) for each in roles)


def test_head_is_written_by_swaps_only(defaults: Stack) -> None:
    """The bucket's policy: TLS only; a PUT of HEAD with neither If-Match nor If-None-Match is denied to everybody."""
    policy = defaults.properties("BucketPolicy")["PolicyDocument"]

    assert {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": ["Bucket.Arn", "Bucket.Arn/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            {
                "Sid": "HeadIsOnlySwapped",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": "Bucket.Arn/snapshots/*/HEAD",
                "Condition": {
                    "Null": {"s3:if-match": "true", "s3:if-none-match": "true"},
                    "Bool": {"s3:ObjectCreationOperation": "true"},
                },
            },
        ],
    } == policy


def test_without_a_vpc_there_is_no_mirror(defaults: Stack) -> None:
    """By default the function runs outside any VPC and needs no network of its own."""
    network = [name for name, each in defaults.resources.items() if each["Type"].startswith(("AWS::EFS", "AWS::EC2"))]
    function = defaults.properties("Compactor")

    assert [] == network
    assert {"VpcConfig", "FileSystemConfigs"}.isdisjoint(function)
    assert "" == function["Environment"]["Variables"]["CHROMA_LIFECYCLE_MIRROR"]


@pytest.mark.parametrize("subnets", [["SubnetA"], ["SubnetA", "SubnetB"], ["SubnetA", "SubnetB", "SubnetC"]])
def test_every_zone_that_is_used_has_a_mount_target(template: dict[str, Any], subnets: list[str]) -> None:
    """A function that starts in a zone without one cannot mount; and it is made after all of them."""
    given = {name: NETWORK[name] for name in ["VpcId", *subnets]}
    stack = Stack(template, given)
    targets = stack.of_type("AWS::EFS::MountTarget")
    function = stack.properties("Compactor")

    assert sorted(given[name] for name in subnets) == sorted(each["SubnetId"] for each in targets.values())
    assert [given[name] for name in subnets] == function["VpcConfig"]["SubnetIds"]
    assert targets.keys() == set(function["Tags"]["MountedFrom"].split())


def test_the_mirror_is_mounted_where_the_settings_say(mirrored: Stack) -> None:
    """One access point, encrypted at rest and on the way, its directory made for the user that it imposes."""
    function, point = mirrored.properties("Compactor"), mirrored.properties("AccessPoint")
    (mount,) = function["FileSystemConfigs"]

    assert {"Arn": "AccessPoint.Arn", "LocalMountPath": "/mnt/mirror"} == mount
    assert mount["LocalMountPath"] == function["Environment"]["Variables"]["CHROMA_LIFECYCLE_MIRROR"]
    assert point["PosixUser"]["Uid"] == point["RootDirectory"]["CreationInfo"]["OwnerUid"] != "0"
    assert mirrored.properties("FileSystem")["Encrypted"] is True
    (statement,) = mirrored.properties("FileSystem")["FileSystemPolicy"]["Statement"]
    assert ("Deny", {"Bool": {"aws:SecureTransport": "false"}}) == (statement["Effect"], statement["Condition"])


def test_only_nfs_reaches_the_mirror(mirrored: Stack) -> None:
    """Port 2049 from the group of the clients, in which the function is, and nothing else."""
    ingress, egress = mirrored.properties("MirrorIn"), mirrored.properties("MirrorOut")

    assert ("MirrorServers", "MirrorClients") == (ingress["GroupId"], ingress["SourceSecurityGroupId"])
    assert ("MirrorClients", "MirrorServers") == (egress["GroupId"], egress["DestinationSecurityGroupId"])
    assert {2049} == {each[port] for each in (ingress, egress) for port in ("FromPort", "ToPort")}
    assert ["MirrorClients"] == mirrored.properties("Compactor")["VpcConfig"]["SecurityGroupIds"]
    assert "SecurityGroupIngress" not in mirrored.properties("MirrorServers")


def test_gateways_lead_to_the_store_and_the_table(template: dict[str, Any], mirrored: Stack) -> None:
    """In a VPC the function reaches S3 and DynamoDB by gateway endpoints, unless the VPC has them already."""
    endpoints = mirrored.of_type("AWS::EC2::VPCEndpoint").values()

    assert ["dynamodb", "s3"] == sorted(each["ServiceName"].rpartition(".")[2] for each in endpoints)
    assert {"Gateway"} == {each["VpcEndpointType"] for each in endpoints}
    assert {} == Stack(template, NETWORK).of_type("AWS::EC2::VPCEndpoint")
