"""Accessible HTML tables: a caption, head cells that name their rows and columns."""

from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite
from typing import Any

__all__ = ["Html", "brackets", "estimate", "html_table", "p_text"]


class Html(str):
    """A piece of HTML that a notebook displays as such."""

    def _repr_html_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return "a table"  # the text that stands for it where there is no HTML


def brackets(bounds: Sequence[float], form: str) -> str:
    """An interval's bounds in a format, or that there is none."""
    low, high = bounds
    return f"[{low:{form}}, {high:{form}}]" if isfinite(high - low) else "[no interval]"


def estimate(value: str, bounds: Sequence[float], form: str) -> Html:
    """A value with its interval."""
    return Html(
        f'<span class="recon-value">{value}</span> '
        f'<span class="recon-interval">{brackets(bounds, form)}</span>'
    )


def p_text(p: float | None, form: str = ".3f") -> str:
    """A p-value in a format; a dash where nothing was, or can be, tested."""
    return "–" if p is None else f"{p:{form}}"


def html_table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    headers: int = 1,
    kind: str = "",
) -> Html:
    """An accessible HTML table.

    Parameters
    ----------
    caption : says what the table shows
    columns : heads of the columns
    rows : cells; `Html` stays as it is, anything else is escaped
    headers : how many cells at the start of a row are its head
    kind : a further class for the style sheet
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = []
    for cells in rows:
        parts = []
        for index, cell in enumerate(cells):
            content = cell if isinstance(cell, Html) else escape(str(cell))
            parts.append(
                f'<th scope="row">{content}</th>' if index < headers else f"<td>{content}</td>"
            )
        body.append(f"<tr>{''.join(parts)}</tr>")
    classes = f"recon-table {kind}".strip()
    return Html(
        f'<div class="{classes}" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
