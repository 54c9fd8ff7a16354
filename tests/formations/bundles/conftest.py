from __future__ import annotations

import io

import pytest

from apps.formations.bundles import BundleError, read, unpack
from tests.formations.bundles.archives import names

SMALLEST = {
    "formation.afs": """\
schema: "1.0.0"
id: help-desk
description: Answers
agents:
  - scout
""",
    "agents/scout.afs": """\
schema: "1.0.0"
id: scout
name: Scout
description: Looks around
""",
}


@pytest.fixture
def place(tmp_path):
    """A folder to unpack into; beside it lies what nobody may touch."""
    (tmp_path / "beside").write_text("mine")
    into = tmp_path / "into"
    into.mkdir()
    return into


@pytest.fixture
def refused(place):
    """`refused(archive, **options)`: the error of unpacking it; nothing of it is left."""

    def unpack_badly(archive, **options):
        with pytest.raises(BundleError) as caught:
            unpack(io.BytesIO(archive), place, **options)
        assert names(place) == []
        assert names(place.parent) == ["beside", "into"]
        return caught.value

    return unpack_badly


@pytest.fixture
def write(tmp_path):
    """`write({path: text})`: the smallest formation with these files instead; its folder."""

    def files(changed):
        for path, text in (SMALLEST | changed).items():
            target = tmp_path / "help-desk" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text) if isinstance(text, str) else target.write_bytes(text)
        return tmp_path / "help-desk"

    return files


@pytest.fixture
def bundle_of(write):
    """`bundle_of({path: text})`: that formation, read."""
    return lambda changed: read(write(changed))


@pytest.fixture
def problems_of(write):
    """`problems_of({path: text})`: what is wrong with it, as `file:line: words`."""

    def find(changed):
        with pytest.raises(BundleError) as caught:
            read(write(changed))
        return [str(problem) for problem in caught.value.problems]

    return find
