"""Parts of a page that are made from committed runs."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from IPython.display import Markdown

from recon.results.names import data_name
from recon.results.store import Run, reference_dir, run_name
from recon.results.tables import NAMES, STAGES


def reference_figures(
    runs: Sequence[Run], labels: dict[str, str], folder: Path | None = None
) -> Markdown:
    """The stored figures of reference runs, each under the name of its run.

    Parameters
    ----------
    runs : sequence of Run
    labels : dict
        Label under which `recon.results.store.save_figure` kept a figure, to its caption, in which
        ``{unit}`` stands for what the run's rows count.
    folder : Path, optional
        Where the figures lie; `reference_dir` by default. A run without a figure is passed over.
    """
    folder = reference_dir() if folder is None else folder
    parts = []
    for run in runs:
        name = run_name(run.chapter, run.parameters)
        methods = {row["method"] for row in run.rows}
        for label, caption in labels.items():
            path = folder / f"{name}_{label}.png"
            if path.is_file():
                # The pyramid's stages stand beside its output, other methods beside each other.
                inside = {one for one in methods if one in STAGES or one.startswith("pcrnn")}
                columns = inside if label == "stages" else methods - {*STAGES}
                said = caption.format(unit=run.rows[0]["unit"])
                parts += [f"**{described(run)}**: {said}"]
                parts += [f"![{columns_text(columns)}](results/{path.name})"]
    return Markdown("\n\n".join(parts) or "No reference run with figures is committed yet.")


def columns_text(methods: Iterable[str]) -> str:
    """What `recon.results.figures.comparison` drew, for those who cannot see it."""
    drawn = {*methods}
    names = [NAMES[one] for one in NAMES if one in drawn] + sorted(drawn - {*NAMES})
    return (
        f"Columns, each under its name, for {', '.join(names)} and the target; rows for the "
        "image, a zoom and the error times five."
    )


def described(run: Run) -> str:
    """A run in words: profile, data, acceleration."""
    sets = sorted({data_name(row["data"], run.parameters) for row in run.rows})
    trained = run.parameters.get("data")
    text = f"{run.profile}, {', '.join(sets)} at {run.parameters.get('accel'):g}x"
    return text if sets == [trained] else f"{text}, trained on {trained}"
