"""The model of the local stack: the one that the settings name, or a stand-in on this machine."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from local import CannotStart
from local.model import smollm

ECHO = "echo"
SMOLLM = "smollm2"
STAND_INS = frozenset({ECHO, SMOLLM})


@dataclass(frozen=True)
class Choice:
    """The model: its title for the screen, and the functions' settings for it."""

    title: str
    settings: dict[str, str] = field(default_factory=dict)
    #: ECHO or SMOLLM, to be started on `port`; "" if the model is not ours to start.
    stand_in: str = ""
    port: int = 0

    @property
    def command(self) -> list[str]:
        module = {ECHO: "local.model.echo", SMOLLM: "local.model.smollm"}[self.stand_in]
        return [sys.executable, "-m", module, str(self.port)]


def choose(environ: Mapping[str, str], port: int) -> Choice:
    """The model of OPENAI_API_KEY or OPENAI_BASE_URL if one is set, else a stand-in on this port.

    Raises:
        CannotStart: LOCAL_MODEL names no stand-in, or one that is not installed.
    """
    address = environ.get("OPENAI_BASE_URL", "").strip()
    key = environ.get("OPENAI_API_KEY", "").strip()
    if key or address:
        name = environ.get("OPENAI_MODEL") or "the default model"
        # Servers on one's own machine need no key, but the functions require one.
        return Choice(f"{name} at {address or 'OpenAI'}", {"OPENAI_API_KEY": key or "none"})
    return _stand_in(environ.get("LOCAL_MODEL", "").strip() or ECHO, port)


def _stand_in(name: str, port: int) -> Choice:
    if name not in STAND_INS:
        raise CannotStart(f"LOCAL_MODEL={name} must be {ECHO} or {SMOLLM}.")
    settings = {
        "OPENAI_API_KEY": "local",
        "OPENAI_API": "chat_completions",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_MODEL": name,
    }
    if name == ECHO:
        title = "an echo, no language model: it repeats, and calls the tools that you name"
        return Choice(f"{title}; set OPENAI_API_KEY for a model", settings, name, port)
    smollm.weights()
    settings["OPENAI_MODEL"] = smollm.NAME
    title = "SmolLM2-135M on this machine: a toy that cannot call tools"
    settings["MODEL_CONTEXT_TOKENS"] = str(smollm.CONTEXT_TOKENS * 3 // 4)
    return Choice(f"{title}; set OPENAI_API_KEY for a real one", settings, name, port)
