"""What to do about an error budget, in sentences that follow from its numbers."""

from __future__ import annotations

from samplerhub.budget.shares import PARTS, Budget, Figure

SHARE = 0.5
"""A part dominates if it has more than this share of the figure."""
SMALL = 0.05
"""A part of less than this share of the figure is not worth a sentence."""


def advise(budget: Budget) -> list[str]:
    """Return sentences, the most important first."""
    if budget.total.is_nothing:
        more = "" if budget.total.stderr is None else "; more samples (-n) or repeats (--repeats) would tell more"
        return [f"The figure cannot be told from 0, and so cannot its parts{more}."]
    worth = SMALL * abs(budget.total.value)
    told = {part: share for part, share in budget.shares.items() if abs(share.value) > worth and not share.is_nothing}
    lines = []
    added = {part: share for part, share in told.items() if share.value > 0}
    if added:
        worst = max(added, key=lambda part: added[part].value)
        share = added[worst].value / budget.total.value
        of_those = " of the parts that can be told apart" if budget.missing else ""
        lead = f"The {worst} dominates" if share > SHARE else f"The {worst} is the largest part{of_those}"
        lines.append(f"{lead} ({100 * share:.0f} % of the figure): {REMEDIES[worst]}.")
    else:
        lines.append(f"No part adds more than {100 * SMALL:.0f} % of the figure that can be told from 0.")
    for part in PARTS:
        if part in told and told[part].value < 0:
            lines.append(
                f"The {part} lowers the figure: its error makes up for another, and making it exact alone hurts."
            )
    if not budget.rest.is_nothing and budget.rest.value > SHARE * budget.total.value:
        lines.append(
            f"More than half of the figure, {budget.rest.value:.3g}, is left when all that can be made exact is exact."
        )
    if budget.slope is not None:
        lines.append(_churn(budget.slope))
    return lines


REMEDIES = {
    "discretisation": "more steps (--steps), a sampler of higher order or another grid (samplerhub list grid) lower it",
    "start": "a prior closer to the noised data (samplerhub list prior) or a start at more noise lowers it",
    "score": "a better model, trained longer or larger, lowers it",
}


def _churn(slope: Figure) -> str:
    """Say what churn would do."""
    error = "" if slope.stderr is None else f" ± {slope.stderr:.1g}"
    size = f"{slope.value:+.2g}{error} per unit of churn at these steps"
    if slope.is_nothing:
        return f"Whether churn helps cannot be told ({size})."
    return f"Churn {'helps' if slope.value < 0 else 'hurts'} ({size})."
