"""The command line: ``python -m recon COMMAND``. Bad input gets one line and exit status 2."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recon.errors import InputError
from recon.paths import check_checkout, place


def run(options: argparse.Namespace) -> int:
    from recon import notebooks

    try:
        print(notebooks.run(options.chapter, once(options.param), options.out, options.reference))
    except notebooks.ChapterError as error:
        print(f"recon: {error}", file=sys.stderr)
        return 1
    return 0


def sweep(options: argparse.Namespace) -> int:
    from recon import sweep as sweeps

    over = {name: values.split(",") for name, values in once(options.over).items()}
    given = once(options.param)
    found = sweeps.sweep(options.chapter, over, given, options.processes, options.scheduler)
    print(f"{len(found.made)} runs made, {len(found.kept)} were there, {len(found.failed)} failed")
    for name, reason in found.failed.items():
        print(f"recon: {name}: {reason}", file=sys.stderr)
    for path in filter(None, (found.table, found.figure)):
        print(path)
    return int(bool(found.failed))


def once(pairs: Sequence[Sequence[str]] | None) -> dict[str, str]:
    """Names and values of a repeatable option; `InputError` for a name that stands there twice."""
    given: dict[str, str] = {}
    for name, value in pairs or []:
        if name in given:
            raise InputError(f"{name} is given twice, {given[name]} and {value}: give it once.")
        given[name] = value
    return given


def execute(options: argparse.Namespace) -> int:
    from recon import notebooks
    from recon.results import staleness

    names, failed = list(dict.fromkeys(options.chapters)) or staleness.chapters(), []
    for name in names:
        notebooks.source_path(name)
    for name in names:
        if options.stale and not staleness.stale(name):
            print(f"{name}: fresh")
            continue
        print(f"{name}: executing", flush=True)
        try:
            print(f"{name}: {notebooks.execute(name):.0f} s", flush=True)
        except (notebooks.ChapterError, InputError) as error:  # the others still get their turn
            print(f"recon: {error}", file=sys.stderr)
            failed.append(name)
    return int(bool(failed))


def sync(options: argparse.Namespace) -> int:
    from recon import notebooks
    from recon.results import staleness

    for name in options.chapters or staleness.chapters():
        print(notebooks.sync(name))
    return 0


def stale(options: argparse.Namespace) -> int:
    from recon.results import staleness

    if options.reference:  # older code made them: worth knowing, no error
        for name, reasons in staleness.stale_reference().items():
            print(f"{name}: {'; '.join(reasons)}")
        return 0
    found = {name: staleness.stale(name) for name in staleness.chapters()}
    for name, reasons in found.items():
        for reason in reasons:
            print(f"{name}: {reason}; run `python -m recon execute {name}`")
    return int(any(found.values()))


def claims(options: argparse.Namespace) -> int:
    from recon.results import claims, store, verdicts

    rows = store.frame(store.reference_runs())
    for paper in claims.load_all():
        judged = verdicts.judge_all(paper, rows)
        for verdict in judged:
            if options.all or not verdict.claim.cell:
                print(f"{verdict.verdict:>29}  {verdict.claim.id}: {verdict.reason}")
        counts = ", ".join(f"{n} {word}" for word, n in verdicts.count(judged).items())
        print(f"{paper.key}: {len(judged)} claims: {counts}")
    return 0


def new_chapter(options: argparse.Namespace) -> int:
    from recon.new_chapter import new_chapter as write

    path = write(options.name)
    print(f"book/{path.name} is written and listed; run `python -m recon execute {path.stem}`")
    return 0


def data(options: argparse.Namespace) -> int:
    from recon.data import manifest

    if options.action == "list":
        for name in manifest.manifest_names():
            print(name)
        return 0
    if options.action == "show":
        path = manifest_path(options.name)
        print(path.read_text(encoding="utf-8"), end="")
        return 0
    if options.action == "verify":
        known = manifest.load_manifest(options.name)
        problems = manifest.verify(known, place(options.root))
        for problem in problems:
            print(problem)
        simulated = known.kind.startswith("simulated")
        fine = f"{options.name}: " + ("simulated, nothing to verify" if simulated else "ok")
        print(f"{options.name}: {len(problems)} problem(s)" if problems else fine)
        return int(bool(problems))
    from recon.data import measured

    path = measured.import_kspace(
        options.file, options.folder, swap=options.swap, axes=options.axes
    )
    print(measured.describe(path))
    print(path)
    return 0


def manifest_path(name: str) -> Path:
    """The file of a manifest, once it has been read and found valid."""
    from recon.data import manifest
    from recon.paths import project_root

    manifest.load_manifest(name)
    return project_root() / "data_manifests" / f"{name}.yml"


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m recon", description="Images from Less")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser("run", help="run a chapter under other parameters")
    one.add_argument("chapter")
    one.add_argument(
        "--param", "-p", nargs=2, action="append", metavar=("NAME", "VALUE"), help="repeatable"
    )
    one.add_argument("--out", help="the executed notebook, or its folder; by default in runs/")
    one.add_argument(
        "--reference", action="store_true", help="keep the results in book/results, to be committed"
    )
    one.set_defaults(action_of=run)

    one = commands.add_parser("sweep", help="run a chapter over a grid of parameters")
    one.add_argument("chapter")
    one.add_argument(
        "--over", nargs=2, action="append", metavar=("NAME", "VALUES"),
        help="vary a parameter: values joined by commas; repeatable, the figure shows the first",
    )  # fmt: skip
    one.add_argument(
        "--param", "-p", nargs=2, action="append", metavar=("NAME", "VALUE"), help="for all runs"
    )
    one.add_argument("--processes", type=int, default=1, help="runs at a time on this machine")
    one.add_argument("--scheduler", default="", help="address of a Dask scheduler, instead")
    one.set_defaults(action_of=sweep)

    one = commands.add_parser("execute", help="run chapters as they stand and put them in place")
    one.add_argument("chapters", nargs="*")
    one.add_argument("--stale", action="store_true", help="only those that are stale")
    one.set_defaults(action_of=execute)

    one = commands.add_parser("sync", help="renew the text of notebooks whose code is the same")
    one.add_argument("chapters", nargs="*")
    one.set_defaults(action_of=sync)

    one = commands.add_parser("stale", help="list executed chapters that no longer match")
    one.add_argument("--reference", action="store_true", help="the committed runs instead")
    one.set_defaults(action_of=stale)

    one = commands.add_parser("claims", help="what the papers claim, and what the runs say of it")
    one.add_argument("--all", action="store_true", help="each number of each table as well")
    one.set_defaults(action_of=claims)

    one = commands.add_parser("new-chapter", help="write the skeleton of a chapter and list it")
    one.add_argument("name")
    one.set_defaults(action_of=new_chapter)

    one = commands.add_parser("data", help="data sets: list, describe, verify, import")
    actions = one.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="names of all data sets")
    actions.add_parser("show", help="access, licence, files").add_argument("name")
    verify = actions.add_parser("verify", help="compare a copy with its manifest")
    verify.add_argument("name")
    verify.add_argument("--root", type=Path, required=True, help="folder of the copy")
    imported = actions.add_parser("import", help="measured k-space (.npz) as a fastMRI file")
    imported.add_argument("file", type=Path)
    imported.add_argument("folder", type=Path)
    imported.add_argument("--axes", default="", help="their order; coils,h,w or slices,coils,h,w")
    imported.add_argument("--swap", action="store_true", help="leave lines out of the other axis")
    one.set_defaults(action_of=data)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        check_checkout()
        return options.action_of(options)
    except InputError as error:
        print(f"recon: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("recon: stopped; nothing was replaced, run it again to go on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
