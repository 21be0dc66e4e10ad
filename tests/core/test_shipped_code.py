"""The pack that others install runs no code but its own: no eval, no pickle, no other process, no installation."""

import ast
import re

import pytest

from tests.shipped import ROOT, shipped

CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
MODULES = {
    *("pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"),
    *("subprocess", "pty", "runpy", "importlib", "ctypes", "cffi", "code", "codeop"),
    *("pip", "ensurepip", "setuptools", "distutils", "socket", "urllib", "http", "ftplib", "smtplib"),
}
NAMED = {  # module -> what of it would do the same
    "os": r"system|popen|fork\w*|exec\w+|spawn\w+|posix_spawn\w*|startfile",
    "torch": r"load|save|jit|package|hub|compile",
    "np": r"load|fromregex",
    "asyncio": r"create_subprocess\w+",
}


def offences(tree: ast.AST) -> list[str]:
    """What a module calls or imports of that kind."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in CALLS:
            found.append(f"line {node.lineno}: {node.id}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if re.fullmatch(NAMED.get(node.value.id, "(?!)"), node.attr):
                found.append(f"line {node.lineno}: {node.value.id}.{node.attr}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            absolute = isinstance(node, ast.Import) or not node.level
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [
                f"line {node.lineno}: import {name}" for name in names if absolute and name.split(".")[0] in MODULES
            ]
            if isinstance(node, ast.ImportFrom):
                pattern = NAMED.get({"numpy": "np"}.get(node.module, node.module), "(?!)")
                found += [f"line {node.lineno}: {a.name}" for a in node.names if re.fullmatch(pattern, a.name)]
    return found


ALLOWED = {
    "sora_core/batch/client.py": ["import urllib.parse"],  # takes addresses apart and opens none
    "sora_core/memory.py": ["import ctypes"],  # how Windows is asked for its free memory
}


def test_the_shipped_python_neither_runs_nor_fetches_code():
    files = [path for path in shipped() if path.suffix == ".py"]
    assert len(files) > 50
    found = {}
    for path in files:
        said = offences(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        said = [one for one in said if not one.endswith(tuple(ALLOWED.get(path.as_posix(), ["\0"])))]
        if said:
            found[path.as_posix()] = said
    assert not found


def test_only_the_batch_client_speaks_to_a_network_and_only_the_loader_to_the_hub():
    """Where the libraries that open connections are imported: never in a node."""
    speaking = {"requests", "websockets", "aiohttp", "httpx", "huggingface_hub", "fsspec", "ray"}
    found: dict[str, set[str]] = {}
    for path in (path for path in shipped() if path.suffix == ".py"):
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found.setdefault(path.as_posix(), set()).update({n.split(".")[0] for n in names} & speaking)
    where = {path: names for path, names in found.items() if names}
    assert where.pop("sora_core/checkpoint.py") == {"huggingface_hub"}
    assert all(path.startswith("sora_core/batch/") for path in where), where


@pytest.mark.parametrize(
    "code",
    [
        "eval('1')",
        "f = exec",
        "import pickle",
        "from subprocess import run",
        "import os\nos.system('ls')",
        "from os import system",
        "import torch\ntorch.load('x')",
        "import urllib.request",
        "import importlib.util",
    ],
)
def test_the_search_finds_what_it_looks_for(code):
    assert offences(ast.parse(code))


def test_the_search_lets_what_is_harmless_pass():
    assert not offences(ast.parse("import re\nmodel.eval()\nre.compile('a')\nfrom . import code\nos.path.join('a')"))


def test_the_shipped_scripts_of_the_front_end_run_and_fetch_nothing():
    scripts = [path for path in shipped() if path.suffix in (".js", ".mjs", ".html")]
    assert scripts
    for path in scripts:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not re.search(
            r"\beval\s*\(|new\s+Function|innerHTML|import\s*\(|https?:|XMLHttpRequest|WebSocket", text
        ), path
