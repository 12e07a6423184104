"""The functions' manifests in the list `resources` of `knative/base/kustomization.yaml`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from functions.registry import FunctionList, InvalidFunctions

BASE: Final = Path("knative/base")
KUSTOMIZATION: Final = f"{BASE}/kustomization.yaml"
_RESOURCES: Final = re.compile(r"(?<=^resources:\n)(?:  - .*\n)+", re.MULTILINE)
#: The label of a function's Service.
_LABEL: Final = "    agent-functions/kind:"


def make_kustomization(root: Path, functions: FunctionList) -> str:
    """The kustomization's whole text, with a line for each function.

    Lines of other files stay where they are, unless the file does not exist, or is the Service of a function that is
    not on the list.

    Raises:
        InvalidFunctions: it has no list `resources` of one file a line.
        OSError: a file cannot be read.
    """
    text = (root / KUSTOMIZATION).read_text()
    found = _RESOURCES.search(text)
    if not found:
        raise InvalidFunctions(f"{KUSTOMIZATION} has no list `resources` of one file a line.")
    lines = found[0].splitlines(keepends=True)
    kept = [line for line in lines if _is_kept(line[4:].strip(), root, functions)]
    return (
        text[: found.start()] + "".join([*kept, *_missing(kept, functions)]) + text[found.end() :]
    )


def _missing(lines: list[str], functions: FunctionList) -> Iterator[str]:
    wanted = (f"  - {name}.yaml\n" for name in functions.names)
    return (line for line in wanted if line not in lines)


def _is_kept(resource: str, root: Path, functions: FunctionList) -> bool:
    if resource.removesuffix(".yaml") in functions.names:
        return True
    file = root / BASE / resource
    # What is no file here may be a folder, or an address.
    return not _is_local(resource) or (file.exists() and not _is_service(file))


def _is_local(resource: str) -> bool:
    return resource.endswith(".yaml") and "/" not in resource


def _is_service(file: Path) -> bool:
    return _LABEL in file.read_text()
