"""Accessible HTML tables: a caption, head cells that name their rows and columns."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

__all__ = ["Html", "html_table"]


class Html(str):
    """A piece of HTML that a notebook displays as such."""

    def _repr_html_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return "a table"  # the text that stands for it where there is no HTML


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
