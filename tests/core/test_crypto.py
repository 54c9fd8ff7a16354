"""The vault's envelope: bound to its place, readable by every key of the ring."""

from __future__ import annotations

import base64

import pytest
from django.core.exceptions import ImproperlyConfigured

from apps.core import crypto

HERE, THERE = (crypto.context_of("w1", "secret", row, "sealed") for row in ("r1", "r2"))
KEYS = {name: base64.b64encode(bytes([number]) * 32).decode() for number, name in enumerate("abc")}


@pytest.fixture
def ring(settings):
    def use(*names, fallback=""):
        settings.ENCRYPTION_KEYS = ",".join(f"{name}:{KEYS[name]}" for name in names)
        settings.ENCRYPTION_FALLBACK = fallback

    return use


def test_what_is_sealed_opens_again():
    assert crypto.open_sealed(crypto.seal(b"secret", context=HERE), context=HERE) == b"secret"


def test_the_same_value_never_looks_the_same():
    assert crypto.seal(b"secret", context=HERE) != crypto.seal(b"secret", context=HERE)


def test_a_value_moved_to_another_row_does_not_open():
    with pytest.raises(crypto.SealBroken):
        crypto.open_sealed(crypto.seal(b"secret", context=HERE), context=THERE)


def test_no_changed_byte_goes_unnoticed():
    sealed = crypto.seal(b"secret", context=HERE)
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(crypto.SealBroken):
            crypto.open_sealed(changed, context=HERE)
    for length in range(len(sealed)):
        with pytest.raises(crypto.SealBroken):
            crypto.open_sealed(sealed[:length], context=HERE)


def test_the_first_key_seals_and_all_open(ring):
    ring("a")
    old = crypto.seal(b"secret", context=HERE)
    ring("b", "a")
    assert crypto.open_sealed(old, context=HERE) == b"secret"
    new = crypto.reseal(old, context=HERE)
    assert (crypto.sealed_with(old), crypto.sealed_with(new)) == ("a", "b")
    assert crypto.reseal(new, context=HERE) == new
    ring("b")
    assert crypto.open_sealed(new, context=HERE) == b"secret"
    with pytest.raises(crypto.SealBroken):
        crypto.open_sealed(old, context=HERE)


def test_the_kept_secret_seals_when_no_key_is_given(ring):
    ring(fallback="a kept secret")
    sealed = crypto.seal(b"secret", context=HERE)
    assert crypto.open_sealed(sealed, context=HERE) == b"secret"
    ring(fallback="another secret")
    with pytest.raises(crypto.SealBroken):
        crypto.open_sealed(sealed, context=HERE)


@pytest.mark.parametrize(
    "written", ["a:c2hvcnQ=", "a:%%%", ":" + KEYS["a"], f"a:{KEYS['a']},a:{KEYS['b']}", "nokey"]
)
def test_a_bad_ring_fails_loudly_and_shows_no_key(settings, written):
    settings.ENCRYPTION_KEYS = written
    with pytest.raises(ImproperlyConfigured) as raised:
        crypto.seal(b"secret", context=HERE)
    assert KEYS["a"] not in str(raised.value)


def test_tokens_are_long_and_never_the_same():
    made = {crypto.new_token("pmx_") for _ in range(100)}
    assert len(made) == 100
    assert all(token.startswith("pmx_") and len(token) >= 4 + 27 for token in made)


def test_comparing_takes_text_and_bytes():
    assert crypto.same("a", b"a")
    assert not crypto.same("a", "b")
    assert len(crypto.digest("token")) == 32
