"""The page that says what distilling gained and what it cost."""

from limbeck.report.page import render_report

__all__ = ["render_report"]
