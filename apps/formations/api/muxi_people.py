"""End users of a formation and what they brought (contract/muxi.md §5.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import path
from rest_framework import serializers

from apps.core.clock import rfc3339
from apps.core.errors import InvalidInput
from apps.core.ids import parse_id, wire_id
from apps.formations import people, selectors, services
from apps.formations.api.formation_view import FormationView
from apps.formations.api.muxi_shapes import answer_of
from apps.formations.services.credentials import MOST_CREDENTIALS
from apps.formations.services.people import LONGEST, LONGEST_TYPE, USUAL_TYPE
from apps.formations.user_credentials import services_of
from apps.surfaces.parsing import StrictSerializer

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.formations.models import EndUser, UserCredential


class Resolving(StrictSerializer):
    """`create_user` is what an SDK sends; upstream creates whatever it says, and so do we."""

    refuses_unknown = False
    identifier = serializers.CharField(max_length=LONGEST)
    identifier_type = serializers.CharField(max_length=LONGEST_TYPE, default=USUAL_TYPE)


class Linking(StrictSerializer):
    refuses_unknown = False
    muxi_user_id = serializers.CharField(
        max_length=LONGEST, required=False, allow_null=True, allow_blank=True
    )
    identifiers = serializers.ListField(min_length=1, max_length=people.MOST_IDENTIFIERS)


class BringingCredential(StrictSerializer):
    refuses_unknown = False
    service = serializers.CharField(allow_blank=True)
    name = serializers.CharField(required=False, allow_blank=True, allow_null=True)
    credential = serializers.DictField()


class EndUserShown(serializers.Serializer[Any]):
    identifier = serializers.CharField()
    muxi_user_id = serializers.CharField()
    internal_user_id = serializers.CharField()


class IdentifierShown(serializers.Serializer[Any]):
    identifier = serializers.CharField()
    type = serializers.CharField()
    created_at = serializers.DateTimeField()


class EndUserNames(serializers.Serializer[Any]):
    muxi_user_id = serializers.CharField()
    internal_user_id = serializers.CharField()
    identifiers = IdentifierShown(many=True)
    count = serializers.IntegerField()


class NameUnlinked(serializers.Serializer[Any]):
    message = serializers.CharField()
    muxi_user_id = serializers.CharField()


class CredentialService(serializers.Serializer[Any]):
    service = serializers.CharField()
    server_id = serializers.CharField()
    description = serializers.CharField(allow_blank=True)


class CredentialServices(serializers.Serializer[Any]):
    services = CredentialService(many=True)
    count = serializers.IntegerField()


class CredentialShown(serializers.Serializer[Any]):
    credential_id = serializers.CharField()
    service = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    credential_preview = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class CredentialsListed(serializers.Serializer[Any]):
    credentials = CredentialShown(many=True)
    count = serializers.IntegerField()


class CredentialDeleted(serializers.Serializer[Any]):
    credential_id = serializers.CharField()
    deleted = serializers.BooleanField()


class ResolveView(FormationView):
    """Either key (C12)."""

    takes = {"POST": Resolving}
    gives = answer_of(EndUserShown)

    def post(self, request: Request, **_: Any) -> Response:
        body = Resolving.read(request.data)
        user = services.resolve_end_user(
            self.actor, body["identifier"], type_name=body["identifier_type"]
        )
        return self.enveloped("user", "user.resolved", _user(body["identifier"], user))


class UserView(FormationView):
    gives = answer_of(EndUserShown)

    def get(self, request: Request, identifier: str, **_: Any) -> Response:
        """Looks only: nobody is made by being asked for."""
        user = people.get_end_user(self.actor, identifier)
        return self.enveloped("user", "user.retrieved", _user(identifier, user))


class NamesView(FormationView):
    """Shows all the names of a user."""

    def names(self, user: EndUser) -> dict[str, Any]:
        rows = people.list_identifiers(self.actor, user)
        listed = [
            {"identifier": row.identifier, "type": row.type, "created_at": rfc3339(row.created_at)}
            for row in rows
        ]
        return _ids(user) | {"identifiers": listed, "count": len(listed)}


class LinkView(NamesView):
    takes = {"POST": Linking}
    gives = answer_of(EndUserNames)

    def post(self, request: Request, **_: Any) -> Response:
        body = Linking.read(request.data)
        named = [_identifier(place, item) for place, item in enumerate(body["identifiers"])]
        user = services.link_identifiers(self.actor, body.get("muxi_user_id") or "", named)
        data = self.names(user)
        return self.enveloped("user_identifiers", "user.identifiers.linked", data)


class IdentifiersView(NamesView):
    """`GET` by any name of a user, `DELETE` of one further name."""

    gives = {"GET": answer_of(EndUserNames), "DELETE": answer_of(NameUnlinked)}

    def get(self, request: Request, identifier: str, **_: Any) -> Response:
        user = people.get_end_user(self.actor, identifier)
        return self.enveloped("user_identifiers", "user.identifiers.list", self.names(user))

    def delete(self, request: Request, identifier: str, **_: Any) -> Response:
        user = services.unlink_identifier(self.actor, identifier)
        words = f"{identifier} is no longer a name of {user.muxi_user_id}."
        data = {"message": words, "muxi_user_id": user.muxi_user_id}
        return self.enveloped("user_identifiers", "user.identifier.unlinked", data)


class ServicesView(FormationView):
    """The services for which the formation's MCP servers take what a user brings."""

    gives = answer_of(CredentialServices)

    def get(self, request: Request, **_: Any) -> Response:
        found = services_of(self.running.document)
        data = {"services": found, "count": len(found)}
        return self.enveloped("credential_list", "credentials.services.list", data)


class CredentialsView(FormationView):
    takes = {"POST": BringingCredential}
    gives = {"GET": answer_of(CredentialsListed), "POST": {201: answer_of(CredentialShown)}}

    def get(self, request: Request, **_: Any) -> Response:
        rows = selectors.list_credentials(self.actor, self.named_user())[:MOST_CREDENTIALS]
        listed = [_credential(row) for row in rows]
        data = {"credentials": listed, "count": len(listed)}
        return self.enveloped("credential_list", "credentials.list", data)

    def post(self, request: Request, **_: Any) -> Response:
        body = BringingCredential.read(request.data)
        row = services.add_credential(
            self.actor,
            self.named_user(),
            body["service"],
            body["credential"],
            name=body.get("name") or "",
        )
        return self.enveloped("credential", "credentials.created", _credential(row), 201)


class CredentialView(FormationView):
    gives = {"GET": answer_of(CredentialShown), "DELETE": answer_of(CredentialDeleted)}

    def get(self, request: Request, credential_id: str, **_: Any) -> Response:
        pk = parse_id("cred", credential_id)
        row = selectors.get_credential(self.actor, self.named_user(), pk)
        return self.enveloped("credential", "credentials.retrieved", _credential(row))

    def delete(self, request: Request, credential_id: str, **_: Any) -> Response:
        services.remove_credential(self.actor, self.named_user(), parse_id("cred", credential_id))
        data = {"credential_id": credential_id, "deleted": True}
        return self.enveloped("credential", "credentials.deleted", data)


def _ids(user: EndUser) -> dict[str, Any]:
    return {"muxi_user_id": user.muxi_user_id, "internal_user_id": str(user.pk)}


def _user(identifier: str, user: EndUser) -> dict[str, Any]:
    return {"identifier": people.folded(identifier), **_ids(user)}


def _identifier(place: int, item: Any) -> tuple[str, str]:
    """`"x"`, `["x", "type"]` or `{identifier, type}`."""
    if isinstance(item, dict):
        item = [item.get("identifier"), item.get("type") or USUAL_TYPE]
    pair = [item, USUAL_TYPE] if isinstance(item, str) else item
    if isinstance(pair, list) and len(pair) == 1:
        pair = [*pair, USUAL_TYPE]
    if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) for x in pair)):
        words = "Must be a text, [identifier, type], or {identifier, type}."
        raise InvalidInput(fields={f"identifiers.{place}": [words]})
    return pair[0], pair[1]


def _credential(row: UserCredential) -> dict[str, Any]:
    return {
        "credential_id": wire_id("cred", row.pk),
        "service": row.service,
        "name": row.name,
        "credential_preview": row.preview,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


urlpatterns = [
    path("v1/users/resolve", ResolveView.as_view()),
    path("v1/users/identifiers", LinkView.as_view()),
    path("v1/users/identifiers/<path:identifier>", IdentifiersView.as_view()),
    path("v1/users/<str:identifier>", UserView.as_view()),
    path("v1/credentials/services", ServicesView.as_view()),
    path("v1/credentials", CredentialsView.as_view()),
    path("v1/credentials/<str:credential_id>", CredentialView.as_view()),
]
