"""What was found of one component."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from importlib import metadata

from samplerhub.testing.check import VERSION, Finding, State


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of one component, and where it comes from."""

    role: str
    name: str
    distribution: str
    version: str
    findings: tuple[Finding, ...]
    reason: str = ""
    """Why its role could not be checked, where it could not."""

    @property
    def state(self) -> State:
        """Failed if a check failed, skipped if its role could not be checked, else passed."""
        if any(finding.failed for finding in self.findings):
            return "failed"
        return "skipped" if self.reason else "passed"

    @property
    def failures(self) -> list[Finding]:
        """The findings that failed."""
        return [finding for finding in self.findings if finding.failed]

    @property
    def summary(self) -> str:
        """How many checks hold, in a line."""
        count = Counter(finding.state for finding in self.findings)
        made = count["passed"] + count["failed"]
        skipped = f", {count['skipped']} do not apply" if count["skipped"] else ""
        reason = f"; not checked further: {self.reason}" if self.reason else ""
        return f"{self.role} {self.name}: {count['passed']} of {made} checks hold{skipped}{reason}"

    def __str__(self) -> str:
        """Return the summary, and each failure with what was expected, measured and what usually causes it."""
        return "\n".join([self.summary, *map(str, self.failures)])

    def as_json(self) -> dict[str, object]:
        """Return it as plain data."""
        return {
            "component": {
                "role": self.role,
                "name": self.name,
                "distribution": self.distribution,
                "version": self.version,
            },
            "state": self.state,
            "reason": self.reason,
            "seconds": round(sum(finding.seconds for finding in self.findings), 3),
            "checks": [_plain(finding) for finding in self.findings],
        }


def as_json(reports: list[Report]) -> dict[str, object]:
    """Return reports as plain data, with the versions of the kit and of samplerhub."""
    return {
        "kit": VERSION,
        "samplerhub": metadata.version("samplerhub"),
        "components": [report.as_json() for report in reports],
        "failed": sum(report.state == "failed" for report in reports),
    }


def _plain(finding: Finding) -> dict[str, object]:
    fields = asdict(finding)
    return {"id": fields.pop("check"), **fields}
