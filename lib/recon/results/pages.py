"""Parts of a page that are made from committed runs."""

from collections.abc import Sequence
from pathlib import Path

from IPython.display import Markdown

from recon.results.store import Run, reference_dir, run_name


def reference_figures(
    runs: Sequence[Run], labels: dict[str, str], folder: Path | None = None
) -> Markdown:
    """The stored figures of reference runs, each under the name of its run.

    Parameters
    ----------
    runs : sequence of Run
    labels : dict
        Label under which `recon.results.store.save_figure` kept a figure, to its caption.
    folder : Path, optional
        Where the figures lie; `reference_dir` by default. A run without a figure is passed over.
    """
    folder = reference_dir() if folder is None else folder
    parts = []
    for run in runs:
        name = run_name(run.chapter, run.parameters)
        for label, caption in labels.items():
            path = folder / f"{name}_{label}.png"
            if path.is_file():
                parts += [
                    f"**{described(run)}**: {caption}",
                    f"![{described(run)}: {caption}](results/{path.name})",
                ]
    return Markdown("\n\n".join(parts) or "No reference run with figures is committed yet.")


def described(run: Run) -> str:
    """A run in words: profile, data, acceleration."""
    sets = sorted({row["data"] for row in run.rows})
    trained = run.parameters.get("data")
    text = f"{run.profile}, {', '.join(sets)} at {run.parameters.get('accel'):g}x"
    return text if sets == [trained] else f"{text}, trained on {trained}"
