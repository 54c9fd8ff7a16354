"""`manage.py formations`: bundles on this machine, formations on this installation.

Each verb is a module of `apps.formations.management.formations`; a new one is added to its list.
"""

from __future__ import annotations

from functools import partial

from apps.accounts.operating import OperatorCommand
from apps.formations.management.formations import VERBS


class Command(OperatorCommand):
    help = "Begin, check and deploy formations: bundles of agents with an address of their own."
    examples = "\n" + "".join(f"  manage.py formations {verb.EXAMPLE}\n" for verb in VERBS)

    def add_verbs(self) -> None:
        for verb in VERBS:
            verb.add_arguments(self.add_verb(verb.NAME, partial(verb.run, self), verb.WORDS))
