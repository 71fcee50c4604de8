"""The one list of versions, the three floors of the library, and what nothing may import."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIB = ROOT / "lib" / "recon"
GROUND = {"physics", "results", "errors", "paths"}
MIDDLE = {"networks", "classical", "phantoms", "data", "learning"}
TOP = {"__main__", "notebooks", "sweep", "new_chapter"}
FORBIDDEN = ("torchvision", "pytorch_lightning", "torchmetrics")


def modules() -> dict[str, Path]:
    """Every module of the library by its dotted name."""
    found = {}
    for path in LIB.rglob("*.py"):
        parts = path.relative_to(LIB.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path], at_import_time: bool = False) -> set[str]:
    """Modules of the library that a file imports; optionally without those inside functions."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    if at_import_time:
        functions = [
            node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        inside = {id(node) for function in functions for node in ast.walk(function)}
        nodes = [node for node in nodes if id(node) not in inside]
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute in this book"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names & known.keys()


def floor(module: str) -> int:
    """0 ground, 1 middle, 2 top."""
    part = (module.split(".") + [""])[1]
    if part in GROUND or not part:
        return 0
    assert part in MIDDLE | TOP, f"{module} stands on no floor: see DESIGN in lib/recon/__init__.py"
    return 1 if part in MIDDLE else 2


def test_imports_only_point_down():
    known = modules()
    assert len(known) > 20
    for module, path in known.items():
        for other in imports(path, known) - {"recon"}:
            assert floor(other) <= floor(module), f"{module} imports {other} from a floor above"
            if module.split(".")[1:2] == ["physics"]:
                assert other.split(".")[1] in {"physics", "errors"}, f"{module} imports {other}"
            if module.split(".")[1:2] == ["results"]:
                assert other.split(".")[1] in {"results", "errors", "paths"}, f"{module}: {other}"


def test_no_cycles():
    known = modules()
    graph = {module: imports(path, known, at_import_time=True) for module, path in known.items()}
    # A package's own modules may be imported by its __init__; that is no cycle unless they return.
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for other in sorted(graph[module] - {module}):
                visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_importing_everything_imports_nothing_forbidden():
    names = sorted(set(modules()) - {"recon.__main__"})
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"found = [name for name in {FORBIDDEN!r} if name in sys.modules]\n"
        "sys.exit(', '.join(found) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_version_is_pinned_and_nothing_stands_twice():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert "python=3.11" in content["dependencies"]
    pins = next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9_.]*", pin), pin
    names = [re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins]
    assert sorted(set(names)) == sorted(names)


def test_what_the_library_imports_is_pinned():
    from importlib.metadata import packages_distributions

    pins = (ROOT / "environment.yml").read_text()
    pinned = {
        re.sub(r"[-_.]+", "-", name).lower()
        for name in re.findall(r"^      - ([\w.-]+)==", pins, flags=re.MULTILINE)
    }
    providers = packages_distributions()
    for path in [*LIB.rglob("*.py"), *(ROOT / "book").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names):
                if top != "recon":
                    offered = {re.sub(r"[-_.]+", "-", n).lower() for n in providers.get(top, [])}
                    assert offered & pinned, f"{path.name} imports {top}, which is not pinned"


def test_the_commands_of_the_readme_exist():
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(code_of(readme))))
    assert named and named <= targets
    commands = set(re.findall(r"python -m recon ([a-z-]+)", readme))
    done = subprocess.run(
        [sys.executable, "-m", "recon", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert commands and all(re.search(rf"^ +{name}\b", done.stdout, re.M) for name in commands)
    for path in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / path).exists(), f"README points at {path}, which does not exist"


def code_of(text: str) -> list[str]:
    """Inline code and code blocks of a Markdown text."""
    return re.findall(r"```.*?```|`[^`]+`", text, flags=re.DOTALL)


def test_jupytext_leaves_a_stamp_alone(tmp_path):
    """What it is asked to do to a notebook beside its source, in the terminal or by JupyterLab."""
    import nbformat

    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "a.py").write_text("# %%\nx = 1\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 2")])
    notebook.metadata["recon"] = {"seconds": 3}
    for words in (["--sync", "a.ipynb"], ["--sync", "a.py"], ["--update", "--to=ipynb", "a.py"]):
        nbformat.write(notebook, tmp_path / "a.ipynb")
        os.utime(tmp_path / "a.ipynb", (0, 0))
        subprocess.run(
            [sys.executable, "-m", "jupytext", *words],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        kept = nbformat.read(tmp_path / "a.ipynb", as_version=4)
        assert kept.metadata["recon"] == {"seconds": 3}
    assert (tmp_path / "a.py").read_text() == "# %%\nx = 1\n"


def test_make_installs_exactly_the_list():
    """The Makefile's way of taking the list out of environment.yml agrees with a YAML parser."""
    text = (ROOT / "environment.yml").read_text()
    content = yaml.safe_load(text)
    pins = next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))
    done = subprocess.run(
        ["sed", "-n", "s/^      - //p"], input=text, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == pins
    assert "sed -n 's/^      - //p' environment.yml" in (ROOT / "Makefile").read_text()
