"""Reports: a record and its diagnosis in, HTML, JSON, Markdown, JUnit and SARIF out; torch is not needed."""

from __future__ import annotations

from diagnose.report.build import build_report
from diagnose.report.values import SCHEMA, Check, Gallery, Headline, Picture, Report, Sample, Section, Table
from diagnose.report.write import write_report

__all__ = ["SCHEMA", "Check", "Gallery", "Headline", "Picture", "Report", "Sample", "Section", "Table", "build_report", "write_report"]
