"""The custom fields of issues."""

from tests.pagure.trackers import UNCHANGED, Tracker, invalid_input, refusal

ADJUSTED = {"message": "Custom field adjusted"}
RESET = "Custom field reviewer reset (from carol)"


async def test_a_custom_field_is_set_changed_and_reset(tracker: Tracker) -> None:
    await tracker.issue()
    story = [
        ({"value": "bob"}, ADJUSTED, "bob", "- Custom field reviewer adjusted to bob"),
        ({"value": "bob"}, UNCHANGED, "bob", None),
        ({"value": "carol"}, ADJUSTED, "carol", "- Custom field reviewer adjusted to carol (was: bob)"),
        (
            {},
            {"message": "Custom field reviewer reset (from carol)"},
            None,
            "- Custom field reviewer reset (from carol)",
        ),
        ({"value": ""}, UNCHANGED, None, None),
    ]
    for form, message, value, _ in story:
        assert await tracker.alice.post("/nethack/issue/1/custom/reviewer", **form) == (200, message)
        fields = (await tracker.view())["custom_fields"]
        assert [field["value"] for field in fields] == ([value] if value else [])
    assert await tracker.list_notes() == [remark for *_, remark in story if remark]


async def test_custom_fields_are_shown_in_the_trackers_order_with_their_choices(tracker: Tracker) -> None:
    await tracker.issue()
    for name, value in {"due": "2027-01-01", "size": "huge", "done": "False", "reviewer": "bob"}.items():
        assert await tracker.alice.post(f"/nethack/issue/1/custom/{name}", value=value) == (200, ADJUSTED)
    shown = await tracker.view()
    assert shown["custom_fields"] == [
        {"key_data": None, "key_type": "text", "name": "reviewer", "value": "bob"},
        {"key_data": None, "key_type": "boolean", "name": "done", "value": "False"},
        {"key_data": '["small","large"]', "key_type": "list", "name": "size", "value": "huge"},
        {"key_data": '"2026-12-24"', "key_type": "date", "name": "due", "value": "2027-01-01"},
    ]
    assert (await tracker.alice.pagure("/nethack/issues"))[1]["issues"] == [shown]


async def test_a_link_field_takes_only_urls(tracker: Tracker) -> None:
    await tracker.issue()
    no = refusal("EINVALIDISSUEFIELD_LINK", "Invalid custom field submitted, the value is not a link")
    for value in ("nonsense", "https://a.example,", "https://a.example, javascript:x", " "):
        assert await tracker.alice.post("/nethack/issue/1/custom/docs", value=value) == no
    for value in ("https://a.example/b?c#d", "http://localhost:8080 , git://a.example/x"):
        assert await tracker.alice.post("/nethack/issue/1/custom/docs", value=value) == (200, ADJUSTED)
    unknown = refusal("EINVALIDISSUEFIELD", "Invalid custom field submitted")
    for name in ("nonsense", "%00", "docs%2Fdocs", "Docs"):
        assert await tracker.alice.post(f"/nethack/issue/1/custom/{name}", value="x") == unknown


async def test_messages_about_custom_fields_have_the_order_of_the_form(tracker: Tracker) -> None:
    await tracker.issue()
    await tracker.alice.post("/nethack/issue/1/custom", reviewer="bob", size="small")
    fields = {"size": "large", "done": "True", "reviewer": "", "docs": ""}
    status, body = await tracker.alice.json("POST", "/api/0/nethack/issue/1/custom", fields)
    details = {
        "size": "Custom field size adjusted to large (was: small)",
        "done": "Custom field done adjusted to True",
        "reviewer": "Custom field reviewer reset (from bob)",
        "docs": "No changes",
    }
    assert (status, body) == (200, {"messages": [{name: detail} for name, detail in details.items()]})
    assert (await tracker.list_notes())[2:] == [f"- {detail}" for detail in details.values() if detail != "No changes"]
    assert {each["name"]: each["value"] for each in (await tracker.view())["custom_fields"]} == {
        "done": "True",
        "size": "large",
    }


async def test_custom_fields_are_set_all_or_none(tracker: Tracker) -> None:
    await tracker.issue()
    unknown = refusal("EINVALIDISSUEFIELD", "Invalid custom field submitted")
    assert await tracker.alice.post("/nethack/issue/1/custom", reviewer="bob", nonsense="x") == unknown
    no = refusal("EINVALIDISSUEFIELD_LINK", "Invalid custom field submitted, the value is not a link")
    assert await tracker.alice.post("/nethack/issue/1/custom", reviewer="bob", docs="x") == no
    assert await tracker.alice.post("/nethack/issue/1/custom") == invalid_input()
    shown = await tracker.view()
    assert (shown["custom_fields"], shown["comments"]) == ([], [])
