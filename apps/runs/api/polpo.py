"""`/agents/processes` on the polpo surface (contract/polpo.md §3.4 and §5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.runs import selectors
from apps.runs.wire import work_json
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response


class ProcessesView(PolpoView):
    def get(self, request: Request, **_: str) -> Response:
        return self.ok([work_json(work) for work in selectors.list_work(self.actor)])


urlpatterns = on_projects("agents/processes", ProcessesView.as_view())
