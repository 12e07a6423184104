"""The bundle on a cluster, with a Postgres and a model around it, and the actions of tests on it."""

import json
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path

from functions.registry import listed_functions, variable_of
from local.environment import ROOT
from local.keys import SigningKey
from shared.core.json import Json
from tests.cluster.choice import NAMESPACE, WORLD, Choice
from tests.cluster.killing import KILL
from tests.cluster.kustomizations import write_overlay, write_world
from tests.fixtures.functions import settings_of_people

_HERE = Path(__file__).parent
#: The label by which the suite removes only what it created.
_MARK = "agent-functions-cluster-test"
_PYTHON = ("python", "-c")


@dataclass
class ClusterBundle:
    """Files in a folder, and what they are on the cluster."""

    folder: Path
    choice: Choice
    settings: dict[str, str] = field(default_factory=dict)
    _password: str = field(default_factory=lambda: secrets.token_hex(16))
    _keys: dict[str, SigningKey] = field(
        default_factory=lambda: {
            each: SigningKey.generate(each) for each in (*listed_functions().agents, "runner")
        }
    )

    @property
    def overlay(self) -> Path:
        return self.folder / "knative/overlays/cluster-test"

    @property
    def world(self) -> Path:
        return self.folder / "world"

    def write(self) -> None:
        """All applied objects, except the Secrets."""
        shutil.copytree(ROOT / "knative", self.folder / "knative")
        shutil.copytree(_HERE / "world", self.world)
        shutil.copytree(_HERE / "overlay", self.overlay)
        sql = [
            ROOT / "local/database/bootstrap.sql",
            *sorted((ROOT / "supabase/migrations").glob("*.sql")),
        ]
        for each in sql:
            shutil.copy(each, self.world / each.name)
        write_world(self.world, self.choice, [each.name for each in sql])
        self.use("network-policy")
        keys = [json.loads(each.public_keys)["keys"][0] for each in self._keys.values()]
        self.set(
            **settings_of_people(),
            INTERNAL_PUBLIC_KEYS=json.dumps({"keys": keys}),
            OPENAI_BASE_URL=self.choice.model_url,
            LEASE_SECONDS="6",
            LEASE_RENEW_SECONDS="2",
            LOG_LEVEL="DEBUG",
        )

    def use(self, *components: str) -> None:
        """These components of `knative/` and no others, for the next deploy."""
        write_overlay(self.overlay, self.choice, components)

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
        """A namespace that this suite did not create, if there is one."""
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
        """Run kubectl and return its output. Fail the test when kubectl fails."""
        done = self._run_kubectl(*arguments, stdin=stdin)
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
        """Run a Python script in the cluster, in the other namespace. Returns its output."""
        return self.kubectl("-n", WORLD, "exec", "deployment/model", "--", *_PYTHON, script)

    def pods(self, function: str) -> list[Json]:
        """Its pods that are not on their way out."""
        label = f"serving.knative.dev/service={function}"
        found = json.loads(self.kubectl("-n", NAMESPACE, "get", "pods", "-l", label, "-o", "json"))
        return [each for each in found["items"] if "deletionTimestamp" not in each["metadata"]]

    def running(self, function: str) -> dict[str, Json]:
        """The status of its container in each of these pods where that runs, by the pod's name."""
        found = {each["metadata"]["name"]: _container(each) for each in self.pods(function)}
        return {name: status for name, status in found.items() if "running" in status["state"]}

    def delete(self, pods: Iterable[str]) -> None:
        """Let pods go as a scale-down does: a drain, SIGTERM, and SIGKILL when their grace is over."""
        self.kubectl("-n", NAMESPACE, "delete", "pod", "--wait=false", *pods)

    def are_gone(self, pods: Iterable[str]) -> bool:
        query = ("get", "pod", "--ignore-not-found", "-o", "name", *pods)
        return not self.kubectl("-n", NAMESPACE, *query).strip()

    def kill(self, function: str) -> Set[str]:
        """Kill all of its processes without a signal that they could handle. Returns the ids of their containers."""
        running = self.running(function)
        for pod in running:
            # Its exit code means nothing: it dies with the container.
            self._run_kubectl("-n", NAMESPACE, "exec", pod, "-c", "function", "--", *_PYTHON, KILL)
        return {status["containerID"] for status in running.values()}

    def killed(self, function: str) -> Set[str]:
        """The containers of its pods that the cluster saw end by SIGKILL, the last one of each pod."""
        ends = [
            status[state]["terminated"]
            for status in map(_container, self.pods(function))
            for state in ("state", "lastState")
            if "terminated" in status.get(state, {})
        ]
        return {end["containerID"] for end in ends if end["exitCode"] == 128 + signal.SIGKILL}

    def started_runs(self, function: str) -> dict[str, Set[str]]:
        """The ids of the runs that each running pod has started, by the pod's name."""
        logs = ("-n", NAMESPACE, "logs", "-c", "function")
        return {pod: started_runs(self.kubectl(*logs, pod)) for pod in self.running(function)}

    def requests(self) -> dict[str, int]:
        """How many requests the model got, by the user's last message."""
        url = self.choice.model_url.removesuffix("/v1") + "/requests"
        script = f"from urllib.request import urlopen; print(urlopen({url!r}).read().decode())"
        counted: dict[str, int] = json.loads(self.inside(script))
        return counted

    def has_eventing(self) -> bool:
        """Whether the cluster knows Brokers."""
        return bool(self.kubectl("api-resources", "--api-group=eventing.knative.dev", "-o", "name"))

    def status(self) -> list[dict[str, str]]:
        """The rows of `python -m knative status`."""
        done = self.knative("status", "--json")
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, str]] = json.loads(done.stdout)
        return rows

    def address(self, function: str) -> tuple[str, dict[str, str]]:
        """The address of a function, and the headers that requests to it need."""
        query = ("get", "ksvc", function, "-o", "jsonpath={.status.url}")
        url = self.kubectl("-n", NAMESPACE, *query)
        if not self.choice.address:
            return url, {}
        return self.choice.address.rstrip("/"), {"host": url.partition("://")[2]}

    def _run_kubectl(
        self, *arguments: str, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        kubectl = str(Path(sys.executable).parent / "kubectl")
        return subprocess.run(
            [kubectl, *arguments], input=stdin, capture_output=True, text=True, timeout=400
        )

    def _secret(self, namespace: str, name: str, **values: str) -> None:
        # From stdin: every user of the machine can see arguments.
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
            **{
                f"{variable_of(name)}_SIGNING_KEY": self._keys[name].private_text
                for name in (*listed_functions().agents, "runner")
            },
        }


def started_runs(log: str) -> set[str]:
    """The `client_run_id`s of the runs that a process started, from its log."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return {line["client_run_id"] for line in lines if line.get("event") == "run.started"}


def _container(pod: Json) -> Json:
    """The status of a pod's own container; Knative's is beside it, and before both start there is none."""
    for status in pod["status"].get("containerStatuses", ()):
        if status["name"] == "function":
            return status  # type: ignore[no-any-return]  # JSON has no types
    return {"state": {}}
