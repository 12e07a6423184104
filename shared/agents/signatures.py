"""What a tool's function takes: the arguments of a call, which a model sends, and the call's context."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from shared.agents.context import RunContext, ToolContext, ToolUser

#: What a call gets from its process. As arguments, a model could choose their members.
_OF_THE_PROCESS: Final = (ToolContext, RunContext, ToolUser)


@dataclass(frozen=True, slots=True)
class Signature:
    """`arguments`: type and default by name, in pydantic's form. `context`: the parameter that gets the context."""

    arguments: Mapping[str, tuple[Any, Any]]
    context: str | None
    result: Any


def signature_of(function: Callable[..., Any], name: str) -> Signature:
    """The signature of the function of the tool with this name.

    Raises:
        TypeError: a parameter cannot be an argument of a call, or the context.
    """
    try:
        parameters = [*inspect.signature(function).parameters.values()]
        for parameter in parameters:
            _check(parameter)
        hints = _hints_of(function)
        contexts = [each.name for each in parameters if _is_context(each.name, hints[each.name])]
        if len(contexts) > 1:
            raise TypeError(f"{' and '.join(contexts)} are both the context")
    except TypeError as error:
        raise TypeError(f"Tool {name}: {error}.") from None
    arguments = {
        each.name: (hints[each.name], ... if each.default is each.empty else each.default)
        for each in parameters
        if each.name not in contexts
    }
    return Signature(arguments, next(iter(contexts), None), hints.get("return", Any))


def _check(parameter: inspect.Parameter) -> None:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise TypeError(f"{parameter} cannot be an argument of a call, which has names only")
    if parameter.name.startswith("_") or parameter.name == "model_config":
        raise TypeError(f"a parameter cannot be named {parameter.name}")
    if parameter.annotation is parameter.empty:
        raise TypeError(f"{parameter.name} needs a type")


def _hints_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"an annotation has the name {error.name!r}, which the module does not have yet; define or import it above"
            " the tool, and outside of functions"
        ) from None


def _is_context(name: str, kind: Any) -> bool:
    """Whether the parameter gets the context, which may be optional."""
    if _without_none(kind) is ToolContext:
        return True
    for part in _parts(kind):
        if isinstance(part, type) and issubclass(part, _OF_THE_PROCESS):
            raise TypeError(
                f"{name} cannot have a type with {part.__name__}, which no model can send; the context is a parameter"
                " of the type ToolContext"
            )
    return False


def _without_none(kind: Any) -> Any:
    """The type without what is beside it: `None`, and the metadata of `Annotated`."""
    if get_origin(kind) is Annotated:
        return _without_none(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not NoneType]
        return _without_none(members[0]) if len(members) == 1 else kind
    return kind


def _parts(kind: Any) -> Iterator[Any]:
    yield kind
    for part in get_args(kind):
        yield from _parts(part)
