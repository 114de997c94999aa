"""A deployments plugin without mlflow: it keeps them in shelf.json, tells numbers as text and no memory."""

import json
from pathlib import Path

from reconciler.client import BaseDeploymentClient

_FILE = Path("shelf.json")


def run_local(name, model_uri, flavor=None, config=None):
    raise NotImplementedError


def target_help():
    return "shelf:/ keeps deployments in shelf.json"


class ShelfClient(BaseDeploymentClient):
    def _read(self):
        return json.loads(_FILE.read_text()) if _FILE.exists() else {}

    def _write(self, shelf):
        _FILE.write_text(json.dumps(shelf, indent=1, sort_keys=True) + "\n")

    def create_deployment(self, name, model_uri, flavor=None, config=None, endpoint=None):
        shelf = self._read()
        if name in shelf:
            raise ValueError(f"{name} is on the shelf already")
        return self._put(shelf, name, model_uri, flavor, config)

    def update_deployment(self, name, model_uri=None, flavor=None, config=None, endpoint=None):
        return self._put(self._read(), name, model_uri, flavor, config)

    def _put(self, shelf, name, model_uri, flavor, config):
        if not isinstance(config.get("memory"), int):
            raise ValueError(f"memory must be a number, the config was {config}")
        told = {"replicas": str(config["replicas"])}
        shelf[name] = {
            "name": name,
            "flavor": flavor,
            "model_uri": model_uri,
            "config": told,
            "age": len(shelf),
        }
        self._write(shelf)
        return shelf[name]

    def delete_deployment(self, name, config=None, endpoint=None):
        shelf = self._read()
        shelf.pop(name, None)
        self._write(shelf)

    def list_deployments(self, endpoint=None):
        return list(self._read().values())

    def get_deployment(self, name, endpoint=None):
        return self._read()[name]

    def predict(self, deployment_name=None, inputs=None, endpoint=None):
        return {"predictions": [x * 10 for x in inputs["inputs"]], "served": deployment_name}
