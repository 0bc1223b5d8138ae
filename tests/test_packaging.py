"""The installed package, its command line, and who may import whom."""

import ast
import functools
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "kdmatch"
COMMANDS = (
    *("quickstart", "run", "evaluate", "compare", "score", "export", "report"),
    *("serve", "rank", "bench", "load", "gate", "promote", "rollback"),
)

# What each part may import of the others (DESIGN.md, "The way data goes").
MAY_IMPORT = {
    "data": set(),
    "text": {"data"},
    "models": {"data"},
    "teachers": {"data", "text", "models"},
    "distillation": {"data", "models"},
    "evaluation": {"data", "text", "models", "teachers", "distillation"},
    "serving": {"data", "text", "models", "evaluation"},
}
NEUTRAL = ("data", "models", "teachers", "distillation", "evaluation")


def _python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # JAX and OpenVINO set TensorFlow's log level where a test of this process imports them.
    ours = ("KDMATCH_DEBUG", "TF_CPP_MIN_LOG_LEVEL")
    env = {key: value for key, value in os.environ.items() if key not in ours}
    return subprocess.run(
        # Isolated: what is imported is what is installed, not what lies in the working directory.
        [sys.executable, "-I", *arguments],
        cwd=cwd,
        env={**env, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _kdmatch(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return _python("-m", "kdmatch", *arguments, cwd=cwd)


# === The package ===


def test_everything_in_the_package_folder_is_installed(tmp_path: Path) -> None:
    code = "import kdmatch; print(kdmatch.__path__[0])"
    installed = Path(_python("-c", code, cwd=tmp_path).stdout.strip())
    expected = {
        path.relative_to(SOURCE)
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert any(path.suffix == ".yaml" for path in expected)
    assert any(path.parent.name == "templates" for path in expected)
    missing = sorted(str(path) for path in expected if not (installed / path).is_file())
    assert not missing


@pytest.mark.parametrize("module", ["kdmatch", "kdmatch.cli"])
def test_importing_stays_light(module: str, tmp_path: Path) -> None:
    code = f"import {module}, sys; print(*sorted({{n.partition('.')[0] for n in sys.modules}}))"
    loaded = set(_python("-c", code, cwd=tmp_path).stdout.split())
    assert "kdmatch" in loaded
    heavy = {"tensorflow", "tensorflow_text", "keras", "keras_hub", "jax", "pyarrow", "sklearn"}
    assert not loaded & heavy


# === The command line ===


def test_help_lists_the_commands(tmp_path: Path) -> None:
    done = _kdmatch("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", done.stdout), command


@functools.cache
def _all_commands() -> tuple[str, ...]:
    import typer.main

    from kdmatch.cli import app

    return tuple(typer.main.get_group(app).commands)


def test_every_command_shows_an_example(tmp_path: Path) -> None:
    assert set(COMMANDS) <= set(_all_commands())
    for command in _all_commands():
        done = _kdmatch(command, "--help", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"Example: kdmatch {command}" in done.stdout, command


def test_version(tmp_path: Path) -> None:
    import kdmatch

    done = _kdmatch("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"kdmatch {kdmatch.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run", "absent.yaml", "--out", "x"), "absent.yaml"),
        (("run", "misspelled.yaml", "--out", "x", "--set", "data.train=rows.csv"), "distillation"),
        (("evaluate", "no-run", "--data", "rows.csv"), "no-run"),
        (("export", "no-run"), "no-run"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], named: str, tmp_path: Path) -> None:
    quickstart = (SOURCE / "pipeline" / "quickstart.yaml").read_text("utf-8")
    wrong = quickstart + "\ndistilation: {alpha: 1}\n"
    (tmp_path / "misspelled.yaml").write_text(wrong, encoding="utf-8")
    done = _kdmatch(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("kdmatch: ")
    assert named in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(importlib.util.find_spec("grpc") is None, reason="quickstart needs gRPC")
def test_what_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    done = _kdmatch("quickstart", "--out", "taken", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert re.match(r"kdmatch: taken.*: (File exists|Not a directory) \(--debug", done.stderr)


def test_a_missing_package_is_one_line(tmp_path: Path) -> None:
    """As on a machine of docs/jax.md, which trains without TensorFlow and gRPC."""
    code = (
        "import sys; sys.modules['grpc'] = None; sys.argv = ['kdmatch', 'quickstart'];"
        "from kdmatch.cli import entry_point; entry_point()"
    )
    done = _python("-c", code, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("kdmatch: this command needs the Python module 'grpc'")
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = _kdmatch("--debug", "run", "absent.yaml", "--out", "x", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "absent.yaml" in done.stderr


# === Who imports whom ===


def _imports(path: Path, module_level: bool) -> Iterator[tuple[int, str]]:
    """`(line, module)` of each import; those that run when the module is imported, or all."""
    pending: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            yield node.lineno, module
            if module == "kdmatch":
                yield from ((node.lineno, f"kdmatch.{alias.name}") for alias in node.names)
        if module_level and _runs_later(node):
            continue
        pending.extend(ast.iter_child_nodes(node))


def _runs_later(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return True
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


@pytest.mark.parametrize("part", NEUTRAL)
def test_neutral_parts_import_no_tensorflow(part: str) -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {module}"
        for path in sorted((SOURCE / part).rglob("*.py"))
        for line, module in _imports(path, module_level=True)
        if module.partition(".")[0] in ("tensorflow", "tensorflow_text", "tensorflow_serving")
    ]
    assert not found


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_nothing_imports_upwards(part: str) -> None:
    parts = {folder.name for folder in SOURCE.iterdir() if folder.is_dir()} | {"cli"}
    forbidden = parts - MAY_IMPORT[part] - {part}
    found = []
    for path in sorted((SOURCE / part).rglob("*.py")):
        for line, module in _imports(path, module_level=False):
            root, *rest = module.split(".")
            if root == "kdmatch" and rest and rest[0] in forbidden:
                found.append(f"{path.relative_to(SOURCE)}:{line}: {module}")
    assert not found


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed: pip install jax"
)
@pytest.mark.parametrize("part", NEUTRAL)
def test_neutral_parts_can_be_imported_without_tensorflow(part: str, tmp_path: Path) -> None:
    names = sorted(path.stem for path in (SOURCE / part).glob("*.py") if path.stem != "__init__")
    code = (
        "import sys, importlib\n"
        "for name in ('tensorflow', 'tensorflow_text'): sys.modules[name] = None\n"
        f"for name in {names}: importlib.import_module(f'kdmatch.{part}.{{name}}')\n"
    )
    done = _python("-c", code, cwd=tmp_path, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    assert done.returncode == 0, done.stderr[-2000:]
