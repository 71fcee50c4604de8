"""What a paper claims: ``book/claims/<paper>.yml``, read, checked and spelt out.

A claim is tested by *parts*: one for each combination of its metrics, accelerations, contrasts
and opponents. Each number in a table is a claim of one part, made here from the table's rows, so
that a published number stands in one place only. `recon.results.verdicts` holds the parts against
the rows of runs; no verdict is ever typed.
"""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema

from recon.errors import InputError
from recon.paths import project_root
from recon.results.readers import read_yaml

__all__ = ["Claim", "Experiment", "Paper", "Part", "Table", "elsewhere", "load", "load_all"]


@dataclass(frozen=True)
class Experiment:
    """Data of an experiment: where it was published, and what stands in for that here.

    Methods that learn must have learned on these data too, or on those of `trained_on`.
    """

    task: str
    published: tuple[str, ...]
    stand_in: tuple[str, ...]
    trained_on: tuple[str, ...] = ()

    @property
    def lessons(self) -> tuple[str, ...]:
        """Data sets that a method may have learned from."""
        return self.published + self.stand_in + self.trained_on


@dataclass(frozen=True)
class Part:
    """One comparison or one value: which rows test it.

    `methods` are alternatives, of which the first that a run has is taken. `value` and
    `tolerance` belong to the rule `within` alone. `further` marks a pair of a ranking that are no
    neighbours in it: tested where a run compares them, and else left to the pairs in between.
    """

    methods: tuple[str, ...]
    metric: str
    accel: float
    contrast: str
    against: str | None = None
    value: float | None = None
    tolerance: float | None = None
    further: bool = False


@dataclass(frozen=True)
class Claim:
    """A statement of a paper and the rule that tests it.

    `cell` marks a number of a table, as opposed to a statement about the numbers; `names` are the
    methods' names in print.
    """

    id: str
    place: str
    statement: str
    rule: str
    experiment: Experiment
    parts: tuple[Part, ...]
    names: dict[str, str]
    other_experiment: Experiment | None = None
    p_below: float | None = None
    because: str = ""
    cell: bool = False


@dataclass(frozen=True)
class Table:
    """A published table: ``rows[i] = (experiment name, contrast, method, values)``."""

    id: str
    caption: str
    columns: tuple[tuple[str, float], ...]
    rows: tuple[tuple[str, str, str, tuple[float, ...]], ...]


@dataclass(frozen=True)
class Paper:
    """A paper's claims: `tables` as published, `claims` about them and one for each number."""

    key: str
    cite: str
    title: str
    chapter: str
    experiments: dict[str, Experiment]
    methods: dict[str, str]
    tables: dict[str, Table]
    claims: tuple[Claim, ...]


def claims_dir() -> Path:
    """Folder of all claims, one YAML file a paper, and their schema."""
    return project_root() / "book" / "claims"


def load_all() -> list[Paper]:
    """Claims of every paper, in the order of their names."""
    return [load(path.stem) for path in sorted(claims_dir().glob("*-*.yml"))]


def load(paper: str | Path) -> Paper:
    """Claims of one paper, by its key (``chen-2022``) or by a path.

    Raises
    ------
    InputError
        If the file cannot be read, breaks the schema, or names an experiment or a method that it
        does not declare.
    """
    path = paper if isinstance(paper, Path) else claims_dir() / f"{paper}.yml"
    content = read_yaml(path)
    try:
        jsonschema.validate(content, read_yaml(claims_dir() / "schema.yml"))
    except jsonschema.ValidationError as error:
        place = "/".join(str(step) for step in error.absolute_path) or "top level"
        raise InputError(f"{path.name}, {place}: {error.message}; see schema.yml.") from error
    return _paper(content, path.name)


def elsewhere(
    paper: Paper, experiment: str, data: str, contrasts: tuple[str, ...] = ("all",)
) -> Paper:
    """The claims about an experiment's orders, asked of other data than those that it stands on.

    Published values and claims of another kind are left out: they hold for the paper's data only.

    Parameters
    ----------
    paper : Paper
    experiment : str
        Name of the experiment.
    data : str
        Name of a data set, as rows have it.
    contrasts : tuple of str
        Those that these data have; parts about others are left out.

    Raises
    ------
    KeyError
        For an experiment that the paper does not have.
    """
    asked = paper.experiments[experiment]
    there = replace(asked, published=(), stand_in=(data,), trained_on=asked.lessons)
    kept = []
    for claim in paper.claims:
        parts = tuple(part for part in claim.parts if part.contrast in contrasts)
        ordered = claim.rule in ("greater", "ordering", "similar") and not claim.cell
        if claim.experiment == asked and ordered and parts:
            kept.append(replace(claim, experiment=there, parts=parts))
    return replace(paper, experiments={experiment: there}, claims=tuple(kept))


def _paper(content: dict[str, Any], file: str) -> Paper:
    """`content` of a checked file as a `Paper`."""
    experiments = {
        name: Experiment(entry["task"], tuple(entry["published"]), tuple(entry["stand_in"]))
        for name, entry in content["experiments"].items()
    }
    tables = {entry["id"]: _table(entry) for entry in content["tables"]}
    for table in tables.values():
        for experiment, _, method, values in table.rows:
            _known(file, f"table {table.id}", "experiment", experiment, experiments)
            _known(file, f"table {table.id}", "method", method, content["methods"])
            if len(values) != len(table.columns):
                raise InputError(
                    f"{file}, table {table.id}: the row of {method} has {len(values)} values, "
                    f"but the table has {len(table.columns)} columns."
                )
    claims = [_claim(entry, experiments, content["methods"], file) for entry in content["claims"]]
    for table in tables.values():
        claims += _cells(table, experiments, content["tolerance"], content["methods"])
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(f"{file}: two claims are called {name!r}, give each its own id.")
    return Paper(
        key=content["key"],
        cite=content["cite"],
        title=content["title"],
        chapter=content["chapter"],
        experiments=experiments,
        methods=content["methods"],
        tables=tables,
        claims=tuple(claims),
    )


def _known(file: str, place: str, field: str, name: str, known: dict[str, Any]) -> None:
    if name not in known:
        raise InputError(f"{file}, {place}: there is no {field} {name!r}, only {', '.join(known)}.")


def _table(entry: dict[str, Any]) -> Table:
    return Table(
        id=entry["id"],
        caption=entry["caption"],
        columns=tuple((metric, float(accel)) for metric, accel in entry["columns"]),
        rows=tuple((row[0], row[1], row[2], tuple(row[3:])) for row in entry["rows"]),
    )


def _cells(
    table: Table,
    experiments: dict[str, Experiment],
    tolerance: dict[str, float],
    names: dict[str, str],
) -> list[Claim]:
    """A claim for each number of `table`."""
    claims = []
    for experiment, contrast, method, values in table.rows:
        for (metric, accel), value in zip(table.columns, values, strict=True):
            part = Part((method,), metric, accel, contrast, None, value, tolerance[metric])
            claims.append(
                Claim(
                    id=f"{table.id}-{experiment}-{contrast}-{method}-{metric}-{accel:g}x",
                    place=f"Table {table.id}, {contrast}, {names[method]}",
                    statement=f"{names[method]} reaches {metric.upper()} {value} at {accel:g}x.",
                    rule="within",
                    experiment=experiments[experiment],
                    parts=(part,),
                    names=names,
                    cell=True,
                )
            )
    return claims


def _claim(
    entry: dict[str, Any],
    experiments: dict[str, Experiment],
    methods: dict[str, str],
    file: str,
) -> Claim:
    """One entry of ``claims`` with its lists multiplied out into parts."""
    place = f"claim {entry['id']}"
    for field in ("experiment", "other_experiment"):
        if field in entry:
            _known(file, place, field, entry[field], experiments)
    for field in ("method", "against", "order"):
        for name in entry.get(field, []):
            _known(file, place, "method", name, methods)
    order = entry.get("order", [])
    neighbours = [*itertools.pairwise(order)]
    if order:
        further = [pair for pair in itertools.combinations(order, 2) if pair not in neighbours]
        pairs = [((better,), worse) for better, worse in [*neighbours, *further]]
    else:
        pairs = [
            (tuple(entry.get("method", ())), against) for against in entry.get("against", [None])
        ]
    lists = (entry.get(field, []) for field in ("contrast", "metric", "accel"))
    parts = tuple(
        Part(
            methods=better,
            metric=metric,
            accel=float(accel),
            contrast=contrast,
            against=worse,
            value=entry.get("value", {}).get(accel),
            tolerance=entry.get("tolerance"),
            further=bool(order) and (better[0], worse) not in neighbours,
        )
        for contrast, metric, accel in itertools.product(*lists)
        for better, worse in pairs
    )
    if entry["rule"] == "within" and any(part.value is None for part in parts):
        raise InputError(f"{file}, {place}: value must give a number for every accel.")
    other = entry.get("other_experiment")
    return Claim(
        id=entry["id"],
        place=entry["place"],
        statement=entry["statement"].strip(),
        rule=entry["rule"],
        experiment=experiments[entry["experiment"]],
        parts=parts,
        names=methods,
        other_experiment=experiments[other] if other else None,
        p_below=entry.get("p_below"),
        because=entry.get("because", ""),
    )
