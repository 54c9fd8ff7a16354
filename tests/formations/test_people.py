"""End users of a formation: their ids, their further names, and what they brought."""

from __future__ import annotations

import threading

import pytest
from django.db import IntegrityError

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput
from apps.formations.errors import (
    CredentialNotFound,
    EndUserNotFound,
    IdentifierTaken,
    TooMany,
)
from apps.formations.models import EndUser, EndUserIdentifier, UserCredential
from apps.formations.people import get_end_user, known_as, list_identifiers
from apps.formations.selectors import get_credential, list_credentials
from apps.formations.services import (
    add_credential,
    link_identifiers,
    opened_credential,
    remove_credential,
    resolve_end_user,
    unlink_identifier,
)
from apps.formations.services.people import MOST_IDENTIFIERS
from apps.knowledge.selectors import list_user_memories
from apps.knowledge.services import remember

TOKEN = {"note": "for work", "access_token": "ghp_0123456789abcdef"}


@pytest.fixture
def ada(aurora):
    return aurora.ada


def link(actor, user, *names):
    return link_identifiers(actor, user, [(name, "custom") for name in names])


@pytest.mark.django_db
class TestNames:
    def test_a_name_nobody_knows_gets_an_id_once(self, ada):
        first = resolve_end_user(ada, "Eve@Example.org", type_name="email")
        assert first.muxi_user_id.startswith("usr_")
        assert resolve_end_user(ada, " eve@example.org ") == first
        assert resolve_end_user(ada, first.muxi_user_id) == first
        named = [(row.identifier, row.type) for row in list_identifiers(ada, first)]
        assert named == [("eve@example.org", "email")]

    def test_a_name_leads_to_its_user_in_one_query(self, ada, borealis, count_queries):
        link(ada, "u1", "eve@example.org", "telegram:7")
        with count_queries(1):
            assert known_as(ada.workspace_id, "telegram:7") == "u1"
        assert known_as(ada.workspace_id, "nobody") == "nobody"
        assert known_as(borealis.id, "telegram:7") == "telegram:7"

    def test_a_name_is_one_users(self, ada):
        link(ada, "u1", "eve")
        link(ada, "u2")
        for taken in ("eve", "u1"):
            with pytest.raises(IdentifierTaken):
                link(ada, "u2", "fresh", taken)
        assert list_identifiers(ada, get_end_user(ada, "u2")) == []
        assert link(ada, "u1", "eve") == link(ada, "eve", "eve")

    def test_a_user_has_only_so_many_names(self, ada):
        link(ada, "u1", *(f"n{number}" for number in range(MOST_IDENTIFIERS)))
        with pytest.raises(TooMany):
            link(ada, "u1", "one more")

    @pytest.mark.parametrize("name", ["", "  ", "0", "x" * 256, "a\x00b"])
    def test_what_is_no_name_is_refused(self, ada, name):
        with pytest.raises(InvalidInput):
            resolve_end_user(ada, name)
        with pytest.raises(InvalidInput):
            link(ada, "", "fine", name)
        assert not EndUser.unscoped.exists()

    def test_a_name_that_is_taken_away_is_nobodys(self, ada):
        user = link(ada, "u1", "eve")
        assert unlink_identifier(ada, "eve") == user
        assert known_as(ada.workspace_id, "eve") == "eve"
        for name in ("eve", "u1"):  # an id is not a further name
            with pytest.raises(EndUserNotFound):
                unlink_identifier(ada, name)

    def test_what_was_kept_under_a_name_is_its_users(self, ada):
        remember(ada, "eve", "likes tea")
        remember(ada, "adam", "likes coffee")
        kept = add_credential(ada, "eve", "github", TOKEN)
        link(ada, "u1", "eve")
        assert [row.detail for row in list_user_memories(ada, "u1")] == ["likes tea"]
        assert list_user_memories(ada, "u1").get().scope_id == "u1"
        assert get_credential(ada, "u1", kept.pk) == kept
        assert [row.detail for row in list_user_memories(ada, "adam")] == ["likes coffee"]

    def test_users_of_another_formation_are_nobody_here(self, ada, borealis):
        link(ada, "u1", "eve")
        with pytest.raises(EndUserNotFound):
            get_end_user(borealis.mallory, "eve")
        with pytest.raises(EndUserNotFound):
            unlink_identifier(borealis.mallory, "eve")
        assert resolve_end_user(borealis.mallory, "eve").muxi_user_id != "u1"


@pytest.mark.django_db(transaction=True)
def test_a_name_resolved_by_many_at_once_is_one_user(race, aurora):
    outcome = race(resolve_end_user, aurora.ada, "eve", runners=8)
    assert not outcome.errors
    assert len({user.pk for user in outcome.results}) == 1


@pytest.mark.django_db(transaction=True)
def test_the_race_for_a_name_is_real(race, aurora, monkeypatch):
    """Control: with both looking before either writes, the database itself must refuse one."""
    both = threading.Barrier(2, timeout=20)
    monkeypatch.setattr("apps.formations.services.people.execute", lambda *_: both.wait())
    monkeypatch.setattr("apps.formations.services.people.find_end_user", lambda *_: None)
    outcome = race(resolve_end_user, aurora.ada, "eve", runners=2)
    assert outcome.errors == [IntegrityError]
    assert EndUserIdentifier.unscoped.count() == 1


@pytest.mark.django_db
class TestCredentials:
    def test_a_credential_is_sealed_and_shown_by_its_ends(self, ada):
        row = add_credential(ada, "eve", "GitHub", TOKEN, name="work")
        assert (row.service, row.preview) == ("github", "ghp_012*****def")
        stored = UserCredential.unscoped.get()
        assert b"0123456789" not in bytes(stored.sealed)
        assert "0123456789" not in str([entry.after for entry in AuditEntry.objects.all()])
        assert opened_credential(ada, "eve", "GITHUB") == TOKEN

    def test_of_a_short_secret_nothing_is_shown(self, ada):
        assert add_credential(ada, "eve", "a", {"token": "x" * 14}).preview == "***redacted***"
        assert add_credential(ada, "eve", "a", {"pin": 7}).preview == "***redacted***"

    def test_the_newest_credential_of_a_service_opens_it(self, ada):
        for token in ("the-first-of-them-all", "the-second-of-them"):
            add_credential(ada, "eve", "github", {"token": token})
        assert opened_credential(ada, "eve", "github") == {"token": "the-second-of-them"}
        assert opened_credential(ada, "eve", "slack") is None

    def test_nobody_else_finds_it(self, ada, borealis):
        row = add_credential(ada, "eve", "github", TOKEN)
        for actor, user in ((ada, "adam"), (borealis.mallory, "eve")):
            assert not list_credentials(actor, user).exists()
            assert opened_credential(actor, user, "github") is None
            with pytest.raises(CredentialNotFound):
                remove_credential(actor, user, row.pk)
        remove_credential(ada, "eve", row.pk)
        assert not UserCredential.unscoped.exists()

    @pytest.mark.parametrize("service", ["", "git hub", "x" * 101])
    def test_a_service_is_one_word(self, ada, service):
        with pytest.raises(InvalidInput) as refused:
            add_credential(ada, "eve", service, TOKEN)
        assert "fields" not in refused.value.details
        with pytest.raises(InvalidInput):
            add_credential(ada, "eve", "github", {})
