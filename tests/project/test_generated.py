"""The files that follow from the list of functions, and other places that name every function."""

import pytest

from functions.registry import listed_functions
from local.environment import ROOT
from local.scaffold.generated import generated_texts

TEXTS = generated_texts(ROOT, listed_functions())


@pytest.mark.parametrize("path", TEXTS)
def test_a_generated_file_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text() == TEXTS[path], "run `make generate`"


def test_the_gateway_routes_to_the_public_functions_alone() -> None:
    routed = TEXTS["supabase/functions/auth-gateway/functions.ts"]
    for function in listed_functions().functions:
        entry = f'{{ name: "{function.name}", kind: "{function.kind}" }}'
        assert (entry in routed) == function.is_public


def test_the_readme_lists_every_function() -> None:
    readme = TEXTS["README.md"]
    assert all(f"| `{name}` | " in readme for name in listed_functions().names)
