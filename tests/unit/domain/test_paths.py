"""The one rule for paths of artifacts: what it takes, what it refuses, and that it says why."""

import posixpath
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.domain.paths import LONGEST, LONGEST_PART, clean_folder, clean_path, is_within
from kedge.errors import RequestInvalid


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "model/MLmodel",
        "plots/roc curve (1).png",
        "a;b.txt",
        "..hidden",
        "...",
        "a.b..c",
        "100%.txt",
        "50%off/x",
        "naïve/日本語.txt",
        "images/step%0.png",
        "ab:c",
        "~user",
        "-rf",
        "x" * LONGEST_PART,
    ],
)
def test_a_plain_relative_path_is_taken_as_it_is(path):
    assert clean_path(path) == path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "part"),
        ("..", "part"),
        (".", "part"),
        ("a/../b", "part"),
        ("a/./b", "part"),
        ("a//b", "part"),
        ("a/", "part"),
        ("../../etc/passwd", "part"),
        ("..;/..;/etc/passwd", "part"),
        ("a/..;x/b", "part"),
        ("a/;x", "part"),
        ("a/.. /b", "part"),
        ("..\\..\\windows", "backslash"),
        ("a\\b", "backslash"),
        ("C:/windows", "drive"),
        ("c:x", "drive"),
        ("t:1/x", "drive"),
        ("a/C:/b", "drive"),
        ("a\0b", "cannot be seen"),
        ("a\nb", "cannot be seen"),
        ("a\x7fb", "cannot be seen"),
        ("a\u202egnp.exe", "cannot be seen"),
        ("a\ufffdb", "UTF-8"),
        ("a\udcffb", "cannot be seen"),
        ("%2e%2e/etc", "twice"),
        ("%2E%2E%2Fetc", "twice"),
        ("a%5cb", "twice"),
        ("a%252e%252e", "twice"),
        ("a%00b", "twice"),
        ("..%3b/x", "twice"),
        ("x" * (LONGEST_PART + 1), "part of over"),
        ("/".join(["x" * 100] * 11), "longer"),
        ("é" * 128, "part of over"),
    ],
)
def test_what_could_leave_a_folder_or_hide_is_refused_with_the_reason(path, why):
    with pytest.raises(RequestInvalid, match=why) as caught:
        clean_path(path)
    assert len(str(caught.value)) < 400


def test_the_root_is_a_folder_and_a_slash_may_end_one():
    assert clean_folder("") == clean_folder("/") == ""
    assert clean_folder("plots/") == clean_folder("plots") == "plots"
    for bad in ("//", "a//", "../", "..", "/a"):
        with pytest.raises(RequestInvalid):
            clean_folder(bad)


def test_a_path_lies_within_its_folder_only():
    assert is_within("a/b", "a")
    assert is_within("a", "")
    assert not is_within("ab", "a")
    assert not is_within("a", "a")


@given(st.lists(st.sampled_from(["..", ".", "", "a", ";", "%2e", "%", "2e", "\\", "/", "C:", " ", "é"]), max_size=8))
def test_whatever_is_taken_stays_in_its_folder_however_often_it_is_decoded(pieces):
    text = "".join(pieces)
    try:
        path = clean_path(text)
    except RequestInvalid:
        return
    assert len(path.encode()) <= LONGEST
    for _ in range(3):
        assert posixpath.normpath(posixpath.join("/root", path)) == f"/root/{path}"
        assert path == unquote(quote(path))
        path = unquote(path)
