"""The operator's choices for the suite, and the names of the objects that it creates."""

from collections.abc import Mapping
from dataclasses import dataclass

NAMESPACE, WORLD = "agent-backend", "agent-backend-world"


@dataclass(frozen=True)
class Choice:
    """Each from an environment variable of this name with CLUSTER_ before it."""

    image: str
    #: The address of an ingress, if names do not resolve; requests then carry the name as Host.
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
