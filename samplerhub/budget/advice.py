"""What to do about an error budget, in sentences that follow from its numbers."""

from __future__ import annotations

from samplerhub.budget.shares import PARTS, Budget, Figure

SHARE = 0.5
"""A part dominates if it has more than this share of what the parts add."""
SMALL = 0.05
"""A part that lowers the figure by less than this share of it is not worth a sentence."""


def advise(budget: Budget) -> list[str]:
    """Return sentences, the most important first."""
    added = {part: share for part, share in budget.shares.items() if share.value > 0 and not share.within()}
    lines = []
    if not added:
        lines.append(
            "No part adds an error that can be told from 0"
            + ("." if budget.total.stderr is None else "; more samples (-n) or repeats (--repeats) would tell more.")
        )
    else:
        worst = max(added, key=lambda part: added[part].value)
        share = added[worst].value / sum(figure.value for figure in added.values())
        lead = f"The {worst} dominates" if share > SHARE else f"The {worst} is the largest part"
        lines.append(f"{lead} ({100 * share:.0f} % of what the parts add): {_remedy(worst, budget)}")
    for part in PARTS:
        share_of = budget.shares.get(part)
        if share_of is not None and share_of.value < -SMALL * abs(budget.total.value) and not share_of.within():
            lines.append(
                f"The {part} lowers the figure: its error makes up for another, and making it exact alone would hurt."
            )
    if not budget.rest.within() and budget.rest.value > 0.5 * max(budget.total.value, 0.0) and budget.rest.value > 0:
        lines.append(
            f"More than half of the figure, {budget.rest.value:.3g}, is left when all that can be made exact is exact."
        )
    return lines


def _remedy(part: str, budget: Budget) -> str:
    if part == "discretisation":
        return "more steps (--steps), a sampler of higher order, or another grid (samplerhub list grid) lower it most."
    if part == "start":
        text = "a prior closer to the noised data (samplerhub list prior) or a start at more noise lowers it most"
    else:
        text = "a better model, trained longer or larger, lowers it most; steps and grid cannot"
    return f"{text}.{_churn(budget.slope)}"


def _churn(slope: Figure | None) -> str:
    """Say what churn would do."""
    if slope is None:
        return ""
    size = (
        f"{slope.value:+.2g}{'' if slope.stderr is None else f' ± {slope.stderr:.1g}'} per unit of churn at these steps"
    )
    if slope.within():
        return f" Churn changes little ({size})."
    return f" Churn {'helps' if slope.value < 0 else 'hurts'} ({size})."
