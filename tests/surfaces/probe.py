"""One small resource on every surface: what the kit does around it is what the tests look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import include, path, re_path
from rest_framework import serializers
from rest_framework.response import Response

from apps.core.errors import Conflict
from apps.surfaces import views
from apps.surfaces.fallback import unknown_route
from apps.surfaces.parsing import StrictSerializer

if TYPE_CHECKING:
    from rest_framework.request import Request

made: list[str] = []  # the names that POST created, in order


class Body(StrictSerializer):
    name = serializers.CharField(max_length=20)


class Probe:
    def get(self, request: Request, **_: Any) -> Response:
        return Response({"name": "probe", "share": 100.0, "mark": "<&>"})

    def post(self, request: Request, **_: Any) -> Response:
        name = Body.read(request.data)["name"]
        if name == "crash":
            raise RuntimeError("the secret reason")
        if name == "taken":
            raise Conflict("This name is taken.")
        made.append(name)
        return Response({"name": name}, status=201)


class PolymuxProbe(Probe, views.PolymuxView):
    pass


class PolymuxReadingPost(Probe, views.PolymuxView):
    bucket = {"POST": "read"}


class PolymuxStar(Probe, views.PolymuxView):
    account_wide = True


class PolymuxPublic(Probe, views.PolymuxView):
    public = frozenset({"GET"})


class MuxiServerProbe(Probe, views.MuxiServerView):
    pass


class MuxiFormationProbe(Probe, views.MuxiFormationView):
    realm = {"GET": "either", "POST": "admin"}


class PolpoProbe(Probe, views.PolpoView):
    pass


class MoleculeProbe(Probe, views.MoleculeView):
    pass


class MoleculeAdminProbe(Probe, views.MoleculeView):
    realm = "admin"


class PolyantProbe(Probe, views.PolyantView):
    pass


class PolyantSuperadminProbe(Probe, views.PolyantView):
    realm = "superadmin"


class PolyantInternalProbe(Probe, views.PolyantView):
    realm = "internal"


class OpenAIProbe(Probe, views.OpenAIView):
    pass


urlpatterns = [
    path("workspaces/<str:workspace_id>/probes", PolymuxProbe.as_view()),
    path("workspaces/<str:workspace_id>/lookups", PolymuxReadingPost.as_view()),
    path("sessions/<str:session_id>/probes", PolymuxProbe.as_view()),
    path("sessions/<str:session_id>", PolymuxProbe.as_view()),
    path("me/probes", PolymuxStar.as_view()),
    path("invitations/<str:token>", PolymuxPublic.as_view()),
    path("rpc/probes", MuxiServerProbe.as_view()),
    path("v1/probes", MuxiFormationProbe.as_view()),
    path("api/v1/projects/<str:project_id>/probes", PolpoProbe.as_view()),
    path("api/v1/probes", PolpoProbe.as_view()),
    path("workspaces/<str:workspace_id>/schedules", MoleculeProbe.as_view()),
    path("bundles/probes", MoleculeAdminProbe.as_view()),
    path("api/instances/<str:slug>/probes", PolyantProbe.as_view()),
    path("api/users/probes", PolyantSuperadminProbe.as_view()),
    path("api/auth/credentials/verify", PolyantInternalProbe.as_view()),
    path("v1/models/probes", OpenAIProbe.as_view()),
    path("", include("polymux.urls.site")),
    re_path(r"", unknown_route),
]
handler400 = "apps.surfaces.fallback.handler400"
handler403 = "apps.surfaces.fallback.handler403"
handler404 = "apps.surfaces.fallback.handler404"
handler500 = "apps.surfaces.fallback.handler500"
