"""Which texts are URLs, and which would publish a login."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.urls import parse_endpoint, publishes_login, require_no_login, require_public_place
from app.errors import Invalid, Subject

PUBLISHED = (
    "https://user:word@example.org/", "https://word@example.org", "HTTPS://User:Word@example.org", "http://:word@h/",
    "ftp://u:p@a.example", "git://u@a.example/x", "git+https://u:p@h/x", "//user:word@example.org/x",
    "see https://user:word@example.org/", "<https://user:word@example.org/>", "url=https://user:word@h",
    "https://user:pa/ss@example.org/", "https://user:pa?ss@example.org", "https://user:pa#ss@example.org",
    "https://user:word%40example.org@example.org/", "https:\\\\user:word@example.org", "https:/user:word@example.org",
    "https:///user:word@example.org", "ssh://git:word@example.org/x", "https://user:p@ss@example.org/",
    "https://example.org/ https://user:word@example.org/", "a,https://user:word@h/", "irc://nick:word@irc.example",
)  # fmt: skip
PUBLIC = (
    "", "text", "https://example.org", "https://example.org/@user/x", "https://example.org:8080/?to=a@b.example",
    "ssh://git@example.org/x.git", "git@example.org:x.git", "a@b.example", "mailto:a@b.example", "x:y@z",
    "https://[::1]:80/a@b", "http://localhost:1/x#a@b", "https://example.org/ a@b.example", "C:\\x",
)  # fmt: skip


@pytest.mark.parametrize("text", PUBLISHED)
def test_a_url_with_a_login_is_recognized(text: str) -> None:
    assert publishes_login(text)


@pytest.mark.parametrize("text", PUBLIC)
def test_other_texts_are_not_taken_for_a_login(text: str) -> None:
    assert not publishes_login(text)


@given(st.text(max_size=20), st.text("abc:%!$&'()*+,;=-._~0", min_size=1), st.text("/?#", max_size=1))
def test_no_login_hides_behind_what_surrounds_it(before: str, login: str, end: str) -> None:
    assert publishes_login(f"{before} https://{login}@example.org{end}")


@pytest.mark.parametrize("text", ["https://h/?token=x", "https://h/#token", "user:word@h/x", "https://u@h/"])
def test_the_public_place_of_a_service_has_no_room_for_secrets(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        require_public_place(text, "ci_url")
    assert (caught.value.subject, caught.value.field) == (Subject.URL_LOGIN, "ci_url")


@pytest.mark.parametrize("text", ["", "https://h:1/x", "ssh://git@h/x", "git@h:x/y", "https://h/@x"])
def test_the_public_place_of_a_service_may_be_any_other_url(text: str) -> None:
    require_public_place(text, "target")


def test_a_text_that_would_take_long_to_read_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        require_no_login("https://example.org/" + "a:/" * 10_000, "url")
    assert caught.value.subject is Subject.TOO_LONG


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://h", "h"), ("https://Example.ORG/x?sig=a%2Fb&c=d", "example.org"), ("http://1.1.1.1:80/?", "1.1.1.1"),
        ("http://[::1]:80/b", "[::1]"), ("HTTP://a_b.example/~x;y=(1)!", "a_b.example"), ("http://h?x", "h"),
        ("http://2130706433/", "2130706433"), ("http://h./", "h."),
    ],
)  # fmt: skip
def test_the_host_of_an_endpoint_is_read(url: str, host: str) -> None:
    assert parse_endpoint(url) == host


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "http://", "http:///x", "http://a b/", "http://h/a b", "http://h/x ", " http://h/", "http://h/\n",
        "http://h/%", "http://h/%2", "http://h/%zz", "http://h/ü", "http://ü.example/", "http://h/<x>", 'http://h/"',
        "http://h/{x}", "http://h/a|b", "http://h/a\\b", "http://h\\x", "http://h:0/", "http://h:65536/", "http://h:x/",
        "http://[::1", "http://[::g]/", "http://[1.2.3.4]/", "http://-h/", "http://h-/", "http://a..b/", "ftp://h/",
        "http://" + "a" * 64 + "/", "http://h/" + "x" * 2048, "http://h/\x00", "javascript://h/", "//h/", "http:h",
    ],
)  # fmt: skip
def test_what_is_no_url_is_no_endpoint(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_endpoint(url)
    assert caught.value.subject is Subject.ENDPOINT


@pytest.mark.parametrize("url", ["http://u@h/", "http://u:p@h/", "http://@h/", "http://h/#x", "http://u:p/q@h/"])
def test_an_endpoint_has_no_login_and_no_fragment(url: str) -> None:
    with pytest.raises(Invalid):
        parse_endpoint(url)
