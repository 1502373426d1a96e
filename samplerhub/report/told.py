"""What a chart shows, for those who do not see it: a sentence for each panel, and the numbers as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from samplerhub.report.plan import Line, Plan
from samplerhub.report.words import listed, number, plus_minus


def described(lines: Sequence[Line], plan: Plan) -> str:
    """Return what a panel shows, in words."""
    said = []
    for line in lines:
        points = [p for p in line.points if p.drawn]
        if points:
            first, last = points[0], points[-1]
            to = f" to {number(last.y)} at {number(last.x)}" if len(points) > 1 else ""
            said.append(f"{line.label} from {number(first.y)} at {plan.x} {number(first.x)}{to}")
    return f"{plan.y} against {plan.x}: {'; '.join(said)}." if said else f"{plan.y} against {plan.x}: no figures."


def undrawn(panels: Sequence[tuple[str, Sequence[Line]]]) -> Iterable[str]:
    """Yield which figures are not drawn because they are not finite."""
    lost = [
        f"{line.label}{f' ({title})' if title else ''} at {number(p.x)}: {number(p.y)}"
        for title, lines in panels
        for line in lines
        for p in line.points
        if not p.drawn
    ]
    if lost:
        more = f" and {len(lost) - 4} more" if len(lost) > 4 else ""
        yield f"Not finite, so not drawn: {listed(lost[:4]) if not more else ', '.join(lost[:4])}{more}."


def table(
    panels: Sequence[tuple[str, Sequence[Line]]], plan: Plan
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the numbers of all panels: a row for each place on the horizontal axis, a column for each line."""
    labels = list(dict.fromkeys(line.label for _, lines in panels for line in lines))
    titled = any(title for title, _ in panels)
    rows = []
    for title, lines in panels:
        found = {(line.label, p.x): plus_minus(p.y, p.stderr) for line in lines for p in line.points}
        for at in sorted({at for _, at in found}, reverse=plan.falling):
            cells = [found.get((label, at), "") for label in labels]
            rows.append((*([title] if titled else []), number(at), *cells))
    return (*(["panel"] if titled else []), plan.x, *labels), tuple(rows)
