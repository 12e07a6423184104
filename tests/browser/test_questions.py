"""Questions of tools, as forms of the page."""

from tests.browser.visitor import Visitor

_COUNT = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
_NAME = {"type": "object", "properties": {"name": {"type": "string", "title": "Whose name"}}}


def test_several_questions_are_groups_of_fields(visitor: Visitor) -> None:
    # A document without scripts and without an icon.
    visitor.open("/fields.js")
    visitor.forgive("favicon.ico")
    visitor.page.evaluate(
        """async (schema) => {
          const { fields } = await import("/fields.js");
          const form = fields(schema);
          window.readForm = form.read;
          document.body.replaceChildren(...form.elements);
        }""",
        {"type": "object", "properties": {"nights": _COUNT, "guest": _NAME}},
    )
    visitor.page.get_by_role("group", name="nights").get_by_label("count").fill("2")
    assert visitor.page.evaluate("readForm()") == {"nights": {"count": 2}, "guest": {}}
    visitor.page.get_by_role("group", name="guest").get_by_label("Whose name").fill("Bo")
    assert visitor.page.evaluate("readForm()")["guest"] == {"name": "Bo"}
