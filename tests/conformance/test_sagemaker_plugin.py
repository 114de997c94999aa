"""A real plugin end to end: mlflow's own SageMaker client as a target, on a moto server on loopback."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.conformance

_MANIFEST = """\
apiVersion: reconciler/v1
kind: Deployment
metadata:
  name: fraud
spec:
  model_uri: model
  flavor: python_function
  config:
    execution_role_arn: ${{env:ROLE_ARN}}
    image_url: 123456789012.dkr.ecr.us-east-1.amazonaws.com/serving:1
    tags: {{team: ml}}
    bucket: models
    region_name: us-east-1
    instance_type: ml.m4.xlarge
    instance_count: {count}
    synchronous: true
    timeout_seconds: 60
"""
_TARGET = ("--target", "sagemaker:/us-east-1")
_MODEL = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    env: {}\n"


class Cloud:
    """A region of moto's, a folder with a manifest and a model, and our program in it."""

    def __init__(self, folder: Path, url: str) -> None:
        import boto3

        self.folder = folder
        self.environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        options: dict[str, Any] = {
            "endpoint_url": url,
            "region_name": "us-east-1",
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
        }
        role = boto3.client("iam", **options).create_role(RoleName="r", AssumeRolePolicyDocument="{}")
        self.environment["ROLE_ARN"] = role["Role"]["Arn"]
        boto3.client("s3", **options).create_bucket(Bucket="models")
        self.sagemaker = boto3.client("sagemaker", **options)
        (folder / "model").mkdir()
        (folder / "model" / "MLmodel").write_text(_MODEL)
        self.write(count=1)

    def write(self, count: int) -> None:
        (self.folder / "fraud.yaml").write_text(_MANIFEST.format(count=count))

    def run(self, *words: str, code: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *words, "fraud.yaml", *_TARGET, "-o", "json"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def show(self, *words: str) -> str:
        """What a command prints that takes no manifests."""
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *words, *_TARGET],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def will_answer(self, body: Any) -> None:
        """The next query of a model gets this answer."""
        result = {"Body": json.dumps(body), "ContentType": "application/json"}
        more = {"InvokedProductionVariant": "v", "CustomAttributes": ""}
        url = f"{self.environment['AWS_ENDPOINT_URL']}/moto-api/static/sagemaker/endpoint-results"
        requests.post(url, json={"results": [{**result, **more}]}, timeout=10).raise_for_status()

    def asked_last(self) -> Any:
        """What the endpoint was sent."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.sagemakerruntime.models import sagemakerruntime_backends

        [answered] = sagemakerruntime_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].results.values()
        return json.loads(json.loads(base64.b64decode(list(answered)[-1]))["Body"])

    def endpoints(self) -> list[str]:
        return [e["EndpointName"] for e in self.sagemaker.list_endpoints()["Endpoints"]]

    def tags(self) -> dict[str, str]:
        """The live endpoint's tags, as SageMaker keeps them."""
        arn = self.sagemaker.describe_endpoint(EndpointName="fraud")["EndpointArn"]
        return {tag["Key"]: tag["Value"] for tag in self.sagemaker.list_tags(ResourceArn=arn)["Tags"]}

    def add_others(self, count: int) -> None:
        """Endpoints that no manifest names."""
        self.sagemaker.create_model(ModelName="other", ExecutionRoleArn=self.environment["ROLE_ARN"])
        variant = {"VariantName": "v", "ModelName": "other", "InstanceType": "ml.m4.xlarge"}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName="other", ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
        )
        for number in range(count):
            self.sagemaker.create_endpoint(EndpointName=f"other-{number}", EndpointConfigName="other")

    def instances(self) -> int:
        """How many instances the live endpoint's configuration asks for."""
        config = self.sagemaker.describe_endpoint(EndpointName="fraud")["EndpointConfigName"]
        variants = self.sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
        return int(variants[0]["InitialInstanceCount"])


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    from moto.sagemaker.models import PAGINATION_MODEL
    from moto.sagemaker.responses import SageMakerResponse
    from moto.server import ThreadedMotoServer

    def update_endpoint(self: Any) -> str:
        """What moto lacks: the endpoint takes another configuration, at once."""
        name = self._get_param("EndpointName")
        endpoint = self.sagemaker_backend.endpoints[name]
        endpoint.endpoint_config_name = self._get_param("EndpointConfigName")
        return json.dumps({"EndpointArn": endpoint.arn})

    monkeypatch.setattr(SageMakerResponse, "update_endpoint", update_endpoint, raising=False)
    # AWS gives ten where nothing is said (API reference, ListEndpoints); moto a hundred.
    monkeypatch.setitem(PAGINATION_MODEL["list_endpoints"], "limit_default", 10)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        requests.post(f"{url}/moto-api/reset", timeout=10).raise_for_status()
        yield Cloud(tmp_path, url)
    finally:
        server.stop()


def test_create_plan_empty_update_delete(cloud: Cloud) -> None:
    assert cloud.run("apply", "--auto-approve")["converged"] is True
    assert cloud.endpoints() == ["fraud"]
    assert cloud.instances() == 1
    # It takes tags and does not tell them: no marker could be read back, so none was sent.
    assert cloud.tags() == {"team": "ml", "app_name": "fraud", "model_uri": "model"}

    plan = cloud.run("plan", "--detailed-exitcode")
    assert plan["summary"]["no_op"] == 1
    untold = {s["path"] for s in plan["steps"][0]["skipped"] if s["reason"] == "not_echoed"}
    assert {"model_uri", "config.instance_count", "config.tags"} <= untold, (
        "the plan says what it cannot compare"
    )
    assert any("config.instance_count" in note for note in plan["notes"])

    cloud.write(count=2)
    again = cloud.run("plan", "--resend-secrets", "--stack", "shop")
    assert any("no marker of ownership" in note for note in again["notes"])
    assert cloud.run("apply", "--auto-approve", "--resend-secrets")["converged"] is True
    assert cloud.instances() == 2

    cloud.run("destroy", "--auto-approve")
    assert cloud.endpoints() == []
    assert cloud.run("plan", "--detailed-exitcode", code=2)["summary"]["create"] == 1


def test_one_beyond_the_first_page_of_the_list_is_seen(cloud: Cloud) -> None:
    cloud.add_others(10)
    assert cloud.run("plan", "--detailed-exitcode", code=2)["summary"]["create"] == 1
    assert cloud.run("apply", "--auto-approve")["converged"] is True
    assert "fraud" not in cloud.endpoints(), "as mlflow's client lists them"
    assert cloud.run("plan", "--detailed-exitcode")["summary"]["no_op"] == 1
    cloud.run("destroy", "--auto-approve")
    names = [e["EndpointName"] for e in cloud.sagemaker.list_endpoints(MaxResults=100)["Endpoints"]]
    assert sorted(names) == sorted(f"other-{number}" for number in range(10))


def test_get_and_query(cloud: Cloud) -> None:
    cloud.run("apply", "--auto-approve")
    assert "Deployment/fraud" in cloud.show("get")
    shown = json.loads(cloud.show("get", "fraud", "-o", "json"))
    assert (shown["EndpointName"], shown["EndpointStatus"]) == ("fraud", "InService")
    assert "EndpointName: fraud" in cloud.show("get", "fraud")
    table = {"columns": ["a"], "index": [0, 1], "data": [[1], [2]]}
    for asked, sent in (
        ([[1], [2]], {"instances": [[1], [2]]}),
        ({"dataframe_split": table}, {"dataframe_split": table}),
        ({"dataframe_records": [{"a": 1}, {"a": 2}]}, {"dataframe_split": table}),
    ):
        cloud.will_answer({"predictions": [1, 2]})
        (cloud.folder / "q.json").write_text(json.dumps(asked))
        shown = cloud.show("query", "Deployment/fraud", "--json", "q.json")
        assert json.loads(shown)["predictions"] == [1, 2]
        assert cloud.asked_last() == sent
