"""A graph of work as SVG, drawn on the server: no script is needed to see it.

Colours are the style sheet's, by `data-state`, so that they follow the dark mode and print; the state
is also written out, for who sees no colours. `watch.js` finds a task by `data-task`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.html import format_html, format_html_join

from apps.console.layout import MOST_MARKS, Band, Mark, bands_of, is_too_large, layers_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.utils.safestring import SafeString

    from apps.console.layout import Layers

BOX_WIDTH, BOX_HEIGHT = 176, 46
BARRIER_WIDTH, BARRIER_HEIGHT, DIAMOND = 112, 60, 14
GAP_X, GAP_Y, EDGE = 52, 18, 12
LONGEST_TITLE, LONGEST_NAME = 25, 17  # characters that fit
BAND_WIDTH, BAND_HEIGHT = 112, 132
BAND_BAR = 60
SIGNS = {"gate": "quality gate", "checkpoint": "checkpoint", "delay": "delay"}

Place = tuple[float, float]


def draw_graph(marks: Sequence[Mark], name: str) -> SafeString:
    """The whole SVG, or its folded form when there is too much to draw one by one."""
    layers = layers_of(marks)
    if is_too_large(marks):
        return _folded(bands_of(layers), len(layers), name)
    places, width, height = _placed(layers)
    lines = format_html_join(
        "", "{}", ((_line(places, known[source], mark),) for mark, source, known in _edges(marks))
    )
    boxes = format_html_join("", "{}", ((_drawn(mark, places[mark.key]),) for mark in marks))
    return _svg(f"{name}: {_summary(marks)}", width, height, format_html("{}{}", lines, boxes))


def _edges(marks: Sequence[Mark]) -> list[tuple[Mark, str, Mapping[str, Mark]]]:
    known = {mark.key: mark for mark in marks}
    return [(mark, source, known) for mark in marks for source in mark.after if source in known]


def _size(mark: Mark) -> tuple[int, int]:
    return (BOX_WIDTH, BOX_HEIGHT) if mark.is_task else (BARRIER_WIDTH, BARRIER_HEIGHT)


def _placed(layers: Layers) -> tuple[dict[str, Place], float, float]:
    """(upper left corner of each mark, width, height of all)"""
    height = max((sum(_size(mark)[1] + GAP_Y for mark in layer) for layer in layers), default=0)
    places: dict[str, Place] = {}
    left = float(EDGE)
    for layer in layers:
        width = max(_size(mark)[0] for mark in layer)
        top = EDGE + (height - sum(_size(mark)[1] + GAP_Y for mark in layer)) / 2
        for mark in layer:
            own = _size(mark)
            places[mark.key] = left + (width - own[0]) / 2, top
            top += own[1] + GAP_Y
        left += width + GAP_X
    return places, left - GAP_X + EDGE, height - GAP_Y + 2 * EDGE


def _line(places: Mapping[str, Place], source: Mark, target: Mark) -> SafeString:
    (x1, y1), (x2, y2) = places[source.key], places[target.key]
    x1 += _size(source)[0] if source.is_task else BARRIER_WIDTH / 2 + DIAMOND
    x2 += 0 if target.is_task else BARRIER_WIDTH / 2 - DIAMOND
    y1, y2 = y1 + _middle(source), y2 + _middle(target)
    bend = (x2 - x1) / 2
    path = f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
    return format_html('<path class="graph-line" data-state="{}" d="{}"/>', source.state, path)


def _middle(mark: Mark) -> float:
    return BOX_HEIGHT / 2 if mark.is_task else DIAMOND + 2


def _drawn(mark: Mark, place: Place) -> SafeString:
    drawn = _task(mark, place) if mark.is_task else _barrier(mark, place)
    return format_html('<a href="{}">{}</a>', mark.url, drawn) if mark.url else drawn


def _task(mark: Mark, place: Place) -> SafeString:
    words = f"{mark.title}: {in_words(mark.state)}" + (f", {mark.note}" if mark.note else "")
    return format_html(
        '<g class="graph-task" data-task="{}" data-state="{}" transform="translate({} {})">'
        '<title>{}</title><rect width="{}" height="{}" rx="6"/><text x="12" y="19">{}</text>'
        '<text class="graph-state" x="12" y="36"><tspan data-state-word="">{}</tspan>{}</text></g>',
        mark.row_id,
        mark.state,
        f"{place[0]:g}",
        f"{place[1]:g}",
        words,
        BOX_WIDTH,
        BOX_HEIGHT,
        cut(mark.title, LONGEST_TITLE),
        in_words(mark.state),
        cut(f" · {mark.note}", LONGEST_NAME) if mark.note else "",
    )


def _barrier(mark: Mark, place: Place) -> SafeString:
    center, size = BARRIER_WIDTH // 2, DIAMOND
    diamond = (
        f"{center},2 {center + size},{size + 2} {center},{2 * size + 2} {center - size},{size + 2}"
    )
    return format_html(
        '<g class="graph-barrier" data-kind="{}" data-state="{}" transform="translate({} {})">'
        '<title>{}</title><polygon points="{}"/><text x="{}" y="44">{}</text>'
        '<text class="graph-state" x="{}" y="57">{}</text></g>',
        mark.kind,
        mark.state,
        f"{place[0]:g}",
        f"{place[1]:g}",
        f"{SIGNS[mark.kind]} {mark.title}: {in_words(mark.state)}",
        diamond,
        center,
        cut(mark.title, LONGEST_NAME),
        center,
        in_words(mark.state),
    )


# --- Folded ----------------------------------------------------------------------------------------
def _folded(bands: Sequence[Band], depth: int, name: str) -> SafeString:
    total = sum(band.tasks for band in bands)
    drawn = format_html_join("", "{}", ((_band(band, index),) for index, band in enumerate(bands)))
    width = len(bands) * (BAND_WIDTH + GAP_X) - GAP_X + 2 * EDGE
    words = f"{name}: {total} tasks in {depth} steps, more than {MOST_MARKS} and therefore folded"
    return _svg(words, width, BAND_HEIGHT + 2 * EDGE, drawn)


def _band(band: Band, index: int) -> SafeString:
    left = EDGE + index * (BAND_WIDTH + GAP_X)
    steps = f"Step {band.first}" if band.first == band.last else f"Steps {band.first}-{band.last}"
    counts = ", ".join(f"{count} {in_words(state)}" for state, count in band.states.items())
    held = f", {band.barriers} barriers" if band.barriers else ""
    return format_html(
        '{}<g class="graph-band" transform="translate({} {})"><title>{}</title>'
        '<rect width="{}" height="{}" rx="6"/><text x="12" y="22">{}</text>'
        '<text class="graph-state" x="12" y="40">{} tasks{}</text>{}</g>',
        _arrow(left) if index else "",
        left,
        EDGE,
        f"{steps}: {counts or 'no tasks'}{held}",
        BAND_WIDTH,
        BAND_HEIGHT,
        steps,
        band.tasks,
        held,
        _bars(band),
    )


def _arrow(left: float) -> SafeString:
    path = f"M{left - GAP_X} {EDGE + BAND_HEIGHT / 2}H{left}"
    return format_html('<path class="graph-line" d="{}"/>', path)


def _bars(band: Band) -> SafeString:
    """How many of each state, as a stack."""
    parts, top = [], 52.0
    for state, count in sorted(band.states.items()):
        height = BAND_BAR * count / band.tasks
        parts.append((state, 12, f"{top:g}", BAND_WIDTH - 24, f"{height:g}"))
        top += height
    bar = '<rect class="graph-bar" data-state="{}" x="{}" y="{}" width="{}" height="{}"/>'
    return format_html_join("", bar, parts)


# --- Words -----------------------------------------------------------------------------------------
def in_words(state: str) -> str:
    return state.replace("_", " ")


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _summary(marks: Sequence[Mark]) -> str:
    tasks = sum(mark.is_task for mark in marks)
    return f"{tasks} tasks, {len(marks) - tasks} barriers"


def _svg(words: str, width: float, height: float, drawn: SafeString) -> SafeString:
    return format_html(
        '<svg class="graph" role="group" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}">'
        "{}</svg>",
        words,
        *(f"{number:g}" for number in (width, height, width, height)),
        drawn,
    )
