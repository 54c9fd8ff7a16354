"""Properties of reading: whatever the files say, a document of JSON comes out, or words with a file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.formations.bundles import BundleError, read, seal_secrets
from apps.formations.bundles.yamlfile import parse
from tests.formations.bundles.test_reading import FULL

FILES = {
    path: parse(text, path).value
    for path, text in FULL.items()
    if path.endswith((".afs", ".yml", ".yaml"))
}
SECRETS = {"OPENAI_API_KEY": "k", "ADMIN_KEY": "k", "TOKEN": "k"}
# What somebody might write in place of anything: every kind, and texts that mean something somewhere.
ODD = st.one_of(
    *(st.none(), st.booleans(), st.integers(-2, 70_000), st.floats(-2, 2), st.text(max_size=5)),
    st.sampled_from(
        [
            *(
                [],
                {},
                [[]],
                [{}],
                [""],
                {"id": []},
                {"$include": "agents/scout.afs"},
                "",
                " ",
                "\n",
            ),
            *(
                "scout",
                "everywhere",
                "../x",
                "/etc/passwd",
                "https://[",
                "http://a@b",
                "a/b",
                "x" * 600,
            ),
            *("${{ secrets.NONE }}", "${{ data.x }}", "local/smollm2", "file:///etc/passwd"),
        ]
    ),
)


def places_in(value, at=()):
    """The path of everything in a JSON value."""
    yield at
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from places_in(item, (*at, key))


PLACES = [(path, at) for path, value in FILES.items() for at in places_in(value) if at]


def spoiled(value, at, odd):
    """`value` with `odd` in one place, or with that place left out."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for step in at[:-1]:
        inner = inner[step]
    if odd == "leave out":
        del inner[at[-1]]
    else:
        inner[at[-1]] = odd
    return copy


def read_somehow(files):
    """Read it, or be refused in words that name a file; whether it could be read."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in (FULL | files).items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_text(text)
        seal_secrets(Path(folder), SECRETS)
        bundle, problems = None, ()
        try:
            bundle = read(Path(folder))
        except BundleError as error:
            problems = error.problems
        assert all(problem.text and problem.file and problem.line for problem in problems)
        assert bundle is None or json.loads(json.dumps(bundle.document)) == bundle.document
        return bundle is not None


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(PLACES), st.one_of(st.just("leave out"), ODD))
def test_one_strange_value_is_read_or_refused_in_words(place, odd):
    path, at = place
    read_somehow({path: json.dumps(spoiled(FILES[path], at, odd))})


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.recursive(ODD, lambda inner: st.lists(inner, max_size=3)))
def test_a_strange_file_is_read_or_refused_in_words(path, value):
    read_somehow({path: json.dumps(value)})


def test_what_is_not_spoiled_is_read():
    """Control: the properties above start from something whole."""
    assert read_somehow({})
    assert read_somehow({path: json.dumps(value) for path, value in FILES.items()})
