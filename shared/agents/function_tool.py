"""Tools that are Python functions.

@tool(read_only=True)
async def find_order(number: str, context: ToolContext) -> Order:
    \"""Find an order of the user by its number.\"""
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import ModuleType
from typing import Any, Final, overload

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from shared.agents.calling import call_function
from shared.agents.context import ToolContext, ToolError, ToolUser
from shared.agents.signatures import Signature, signature_of
from shared.agents.tools import Approval
from shared.core import Json, clean_json

Function = Callable[..., Any]
_FAULTS: Final = 5


class _Arguments(BaseModel):
    """The arguments of a call, by the parameters of its function; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionTool:
    """A function as a tool, and its declared effects. The hints are MCP's.

    `read_only` and `idempotent` calls may be made again when their outcome is unknown. `approval` None: `destructive`
    calls need the user's approval. `required_role`: who may see and use it (`app_metadata.role`).
    `required_settings` and `optional_settings` name what it finds in `ToolContext.settings`: settings of the process,
    or the variables TOOL_SECRET_<NAME>.
    """

    function: Function
    name: str
    title: str
    description: str
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = False
    open_world: bool = False
    approval: Approval | None = None
    required_role: str | None = None
    required_settings: Sequence[str] = ()
    optional_settings: Sequence[str] = ()

    @property
    def is_repeatable(self) -> bool:
        return self.read_only or self.idempotent

    @cached_property
    def signature(self) -> Signature:
        """What the function takes and returns.

        Raises:
            TypeError: a parameter cannot be an argument of a call, or the context.
        """
        return signature_of(self.function, self.name)

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The model that reads a call's arguments."""
        try:
            fields: dict[str, Any] = dict(self.signature.arguments)
            return create_model(self.function.__name__, __base__=_Arguments, **fields)
        except Exception as error:
            raise TypeError(f"Tool {self.name}: its parameters make no schema: {error}.") from error

    @cached_property
    def input_schema(self) -> Json:
        """The JSON Schema of the arguments."""
        schema = self.arguments.model_json_schema()
        schema.pop("title", None)
        schema.pop("description", None)
        return schema

    @cached_property
    def _result(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.signature.result)

    @property
    def is_structured(self) -> bool:
        """Whether a result is a model, so that MCP clients get it as structured content, too."""
        kind = self.signature.result
        return isinstance(kind, type) and issubclass(kind, BaseModel)

    @cached_property
    def output_schema(self) -> Json | None:
        """The JSON Schema of a structured result."""
        return self._result.json_schema() if self.is_structured else None

    def is_for(self, user: ToolUser) -> bool:
        """Whether the user may see and use it."""
        return self.required_role is None or user.role == self.required_role

    def read(self, arguments: Json) -> dict[str, Any]:
        """The function's arguments, checked and converted.

        Raises:
            ToolError: they do not fit; the message says where and why, and never repeats a value.
        """
        try:
            checked = self.arguments.model_validate(clean_json(arguments))
        except ValidationError as error:
            faults = error.errors()[:_FAULTS]
            words = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
            raise ToolError(f"The arguments do not fit: {'; '.join(words)}.") from None
        return {name: getattr(checked, name) for name in type(checked).model_fields}

    async def run(self, arguments: Json, context: ToolContext, seconds: float = 30.0) -> Any:
        """Call the function: a coroutine function on the event loop, a plain function in a thread.

        Raises:
            ToolError: the arguments do not fit, or no thread was free in time.
            TimeoutError: the call took longer than `seconds`. And whatever the function raises.
        """
        given = self.read(arguments)
        if self.signature.context:
            given[self.signature.context] = context
        function = partial(self.function, **given)
        return await call_function(function, name=self.name, user=context.user.id, seconds=seconds)

    def dump(self, result: Any) -> Any:
        """A result as JSON: by the function's return type, or by its own type where it has none."""
        # A warning of pydantic's would show the result in the log.
        return self._result.dump_python(result, mode="json", warnings="none")


@overload
def tool(function: Function, /) -> FunctionTool: ...
@overload
def tool(**options: Any) -> Callable[[Function], FunctionTool]: ...


def tool(function: Function | None = None, /, **options: Any) -> Any:
    """Make a tool of a function, `async` or plain: `@tool`, or `@tool(read_only=True)` with members of `FunctionTool`.

    The name is the function's, the description its docstring, the JSON Schema comes from its parameters: give each a
    type, and a description with `Annotated[str, Field(description="…")]`. A parameter of the type `ToolContext`, also
    an optional one, gets the call's context and is no argument. The result is text, or what JSON can hold: models,
    dictionaries, lists. Raise `ToolError` with a sentence for the model, and `InputRequired` to ask the user.

    Raises:
        TypeError: the function has no docstring; a parameter has no type, is positional-only, `*args` or `**kwargs`, or
            has a type with a context that it cannot get; two parameters are the context; an annotation cannot be
            evaluated; there is no such option.
    """

    def make(function: Function) -> FunctionTool:
        name = options.pop("name", function.__name__)
        defaults = {
            "name": name,
            "title": name.replace("_", " ").capitalize(),
            "description": inspect.getdoc(function) or "",
        }
        new_tool = FunctionTool(**{**defaults, "function": function, **options})
        # Now, when the module is loaded, and not with the first call.
        _ = new_tool.signature
        if not str(new_tool.description or "").strip():
            raise TypeError(f"Tool {name} needs a docstring, which tells the model what it does.")
        return new_tool

    return make if function is None else make(function)


def tools_of(*modules: ModuleType) -> dict[str, FunctionTool]:
    """The tools of these modules by name.

    Raises:
        ValueError: two tools have the same name.
    """
    by_name: dict[str, FunctionTool] = {}
    for module in modules:
        for value in vars(module).values():
            if not isinstance(value, FunctionTool):
                continue
            if by_name.setdefault(value.name, value) is not value:
                raise ValueError(f"two tools are named {value.name}")
    return by_name
