"""What a run of the command line leaves for the shell, for ``--json`` and for the table of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diagnose.report.values import Report


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a run."""

    status: int
    folder: Path | None = None
    report: Report | None = None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        if self.report is None:
            return {"status": self.status, "error": self.error}
        values = self.report.diagnosis.to_dict()
        headlines = {h.name: h.value for h in self.report.headlines}
        return {"status": self.status, "folder": str(self.folder), "report": f"{self.folder}/report.html", "headlines": headlines, **values}
