"""The bundle on a cluster, with a Postgres and a model around it, and what a test does to it."""

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from local.environment import ROOT
from local.keys import SigningKey
from shared.contracts import Json
from tests.fixtures.functions import settings_of_people

NAMESPACE, WORLD = "agent-backend", "agent-backend-world"
_HERE = Path(__file__).parent
#: So that the suite removes nothing that it did not make.
_MARK = "agent-functions-cluster-test"


@dataclass(frozen=True)
class Choice:
    """What whoever runs the suite chose, by environment variables of these names with CLUSTER_ before them."""

    image: str
    #: Of an ingress, where names do not resolve; requests then carry the name as Host.
    address: str = ""
    model_url: str = f"http://model.{WORLD}.svc.cluster.local:8080/v1"
    python_image: str = "python:3.12-slim"
    postgres_image: str = "postgres:17"
    #: Leave all of it where it is afterwards.
    keep: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Choice":
        given = {
            name: environ[f"CLUSTER_{name.upper()}"]
            for name in cls.__dataclass_fields__
            if environ.get(f"CLUSTER_{name.upper()}")
        }
        return cls(**given)


@dataclass
class Bundle:
    """Files in a folder, and what they are on the cluster."""

    folder: Path
    choice: Choice
    settings: dict[str, str] = field(default_factory=dict)
    _password: str = field(default_factory=lambda: secrets.token_hex(16))
    _keys: dict[str, SigningKey] = field(
        default_factory=lambda: {each: SigningKey.generate(each) for each in ("agent", "runner")}
    )

    @property
    def overlay(self) -> Path:
        return self.folder / "knative/overlays/cluster-test"

    @property
    def world(self) -> Path:
        return self.folder / "world"

    def write(self) -> None:
        """All that is applied, except the Secrets."""
        shutil.copytree(ROOT / "knative", self.folder / "knative")
        shutil.copytree(_HERE / "world", self.world)
        shutil.copytree(_HERE / "overlay", self.overlay)
        sql = [ROOT / "local/bootstrap.sql", *sorted((ROOT / "supabase/migrations").glob("*.sql"))]
        for each in sql:
            shutil.copy(each, self.world / each.name)
        _write_yaml(self.world, self._world_kustomization([each.name for each in sql]))
        _write_yaml(self.overlay, self._overlay_kustomization())
        keys = [json.loads(each.public_keys)["keys"][0] for each in self._keys.values()]
        self.set(
            **settings_of_people(),
            INTERNAL_PUBLIC_KEYS=json.dumps({"keys": keys}),
            OPENAI_BASE_URL=self.choice.model_url,
            LEASE_SECONDS="6",
            LEASE_RENEW_SECONDS="2",
            LOG_LEVEL="DEBUG",
        )

    def set(self, **settings: str) -> None:
        """Other settings, for the next deploy: another revision of every function."""
        self.settings |= settings
        lines = [f"{name}={value}" for name, value in self.settings.items()]
        (self.overlay / "settings.env").write_text("\n".join(lines) + "\n")

    def install(self) -> None:
        """A namespace each, the Secrets, Postgres and the model, ready; and the functions as `deploy` makes them."""
        for name in (NAMESPACE, WORLD):
            self.kubectl("create", "namespace", name)
            self.kubectl("label", "namespace", name, f"{_MARK}=true")
        self._secret(WORLD, "postgres", password=self._password)
        self._secret(NAMESPACE, "backend-secrets", **self._function_secrets())
        self.kubectl("apply", "--server-side", "-k", str(self.world))
        for each in ("postgres", "model"):
            self.kubectl("-n", WORLD, "rollout", "status", f"deployment/{each}", "--timeout=300s")
        deployed = self.knative("deploy", str(self.overlay))
        assert deployed.returncode == 0, deployed.stderr

    def is_foreign(self) -> str:
        """A namespace that somebody else made, if there is one."""
        found = self.kubectl("get", "namespaces", "-o", "json")
        for each in json.loads(found)["items"]:
            labels = each["metadata"].get("labels", {})
            if each["metadata"]["name"] in (NAMESPACE, WORLD) and _MARK not in labels:
                return str(each["metadata"]["name"])
        return ""

    def remove(self) -> None:
        """Both namespaces, with all in them."""
        self.kubectl("delete", "namespace", NAMESPACE, WORLD, "--ignore-not-found", "--wait")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints. It fails the test when kubectl fails."""
        kubectl = str(Path(sys.executable).parent / "kubectl")
        done = subprocess.run(
            [kubectl, *arguments], input=stdin, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments[:6])}: {done.stderr}"
        return done.stdout

    def knative(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`python -m knative`, as a person runs it."""
        return subprocess.run(
            [sys.executable, "-m", "knative", *arguments], cwd=ROOT, capture_output=True, text=True
        )

    def sql(self, statement: str) -> str:
        """The rows of a statement, as the owner of the schema."""
        psql = ("psql", "-U", "postgres", "-d", "postgres", "-tAc", statement)
        return self.kubectl("-n", WORLD, "exec", "deployment/postgres", "--", *psql).strip()

    def inside(self, script: str) -> str:
        """What a Python script prints that runs in the cluster, in the other namespace."""
        return self.kubectl("-n", WORLD, "exec", "deployment/model", "--", "python", "-c", script)

    def pods(self, function: str) -> list[Json]:
        """Its pods that are not on their way out."""
        label = f"serving.knative.dev/service={function}"
        found = json.loads(self.kubectl("-n", NAMESPACE, "get", "pods", "-l", label, "-o", "json"))
        return [each for each in found["items"] if "deletionTimestamp" not in each["metadata"]]

    def kill(self, function: str) -> None:
        """All of its pods, without a word to them."""
        names = [each["metadata"]["name"] for each in self.pods(function)]
        self.kubectl("-n", NAMESPACE, "delete", "pod", "--grace-period=0", "--force", *names)

    def status(self) -> list[dict[str, str]]:
        """The rows of `python -m knative status`."""
        done = self.knative("status", "--json")
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, str]] = json.loads(done.stdout)
        return rows

    def address(self, function: str) -> tuple[str, dict[str, str]]:
        """Where a function is asked, and the headers which that needs."""
        query = ("get", "ksvc", function, "-o", "jsonpath={.status.url}")
        url = self.kubectl("-n", NAMESPACE, *query)
        if not self.choice.address:
            return url, {}
        return self.choice.address.rstrip("/"), {"host": url.partition("://")[2]}

    def _secret(self, namespace: str, name: str, **values: str) -> None:
        # From stdin: arguments can be seen by all of the machine.
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": values,
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(secret))

    def _function_secrets(self) -> dict[str, str]:
        host = f"postgres.{WORLD}.svc.cluster.local"
        return {
            "SUPABASE_DATABASE_URL": f"postgresql://agent_api:{self._password}@{host}:5432/postgres",
            "OPENAI_API_KEY": "none",
            "AGENT_SIGNING_KEY": self._keys["agent"].private_text,
            "RUNNER_SIGNING_KEY": self._keys["runner"].private_text,
        }

    def _world_kustomization(self, sql: list[str]) -> Json:
        names = (("postgres", self.choice.postgres_image), ("python", self.choice.python_image))
        maps = (("postgres-init", ["migrate.sh"]), ("postgres-sql", sql), ("model", ["model.py"]))
        return {
            "kind": "Kustomization",
            "namespace": WORLD,
            "resources": ["world.yaml"],
            "images": [_image(f"{name}-of-the-suite", image) for name, image in names],
            "configMapGenerator": [{"name": name, "files": files} for name, files in maps],
        }

    def _overlay_kustomization(self) -> Json:
        settings = {"name": "backend-configmap", "namespace": NAMESPACE, "behavior": "merge"}
        service = {"group": "serving.knative.dev", "kind": "Service"}
        return {
            "kind": "Kustomization",
            "resources": ["../../base", "to-model.yaml"],
            "components": ["../../components/network-policy"],
            "images": [_image("agent-functions", self.choice.image)],
            "configMapGenerator": [{**settings, "envs": ["settings.env"]}],
            "patches": [{"path": "quick.yaml", "target": service}],
        }


def _image(name: str, image: str) -> dict[str, str]:
    # As a whole: the names that stand for images have no tag that kustomize would add.
    return {"name": name, "newName": image}


def _write_yaml(folder: Path, kustomization: Any) -> None:
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
