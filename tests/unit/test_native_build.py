"""The cache of native servers: built once, whole or not at all, and anew when an input changes."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from planwatch import native_build
from planwatch.native_build import INFLUXD, KAFKA, Product, Runner, Tool, built, cache_folder
from schemas.base import PlanwatchError


def toy(script: str, *tools: Tool) -> Product:
    """A product that a shell script makes; the script finds the folder to fill as $0."""

    def make(inputs: Path, work: Path, out: Path, run: Runner) -> None:
        run(["/bin/sh", "-c", script, str(out)], work, {"PATH": "/usr/bin:/bin"})

    return Product("toy", KAFKA.inputs, KAFKA.version_like, (), tools, "a moment", (), make)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("PLANWATCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_built_once(cache: Path) -> None:
    """The second asker gets what the first had built; the folder's name holds the version."""
    first = built(toy('echo first > "$0/product"'))
    second = built(toy('echo second > "$0/product"'))
    assert first == second
    assert (second / "product").read_text() == "first\n"
    assert first.name.startswith(f"toy-{KAFKA.version()}-")
    assert first.parent == cache


def test_who_ask_at_once_share_one_build(cache: Path) -> None:
    """Of several askers one builds and the others wait for it."""
    product = toy(f'echo built >> {cache}/count; echo whole > "$0/product"')
    threads = [threading.Thread(target=built, args=(product,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (cache / "count").read_text() == "built\n"


def test_a_failed_build_says_why_and_leaves_nothing(cache: Path) -> None:
    """The error ends with what the tool said last; the next asker builds again."""
    with pytest.raises(PlanwatchError, match="the network is away"):
        built(toy('echo half > "$0/product"; echo the network is away; exit 3'))
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
    assert (built(toy('echo whole > "$0/product"')) / "product").read_text() == "whole\n"


def test_a_missing_tool_is_named_with_its_remedy() -> None:
    """Nothing is tried without the tools; the error says which one is missing and what to install."""
    with pytest.raises(PlanwatchError, match="no-such-tool is missing: get it from a shop"):
        built(toy("exit 1", Tool("no-such-tool", "get it from a shop")))


def test_an_old_tool_is_named_with_its_version() -> None:
    """A tool that is there but too old is as good as missing."""
    assert Tool("sh", "get a newer one", (99,), "-c").lack() is not None
    with pytest.raises(PlanwatchError, match=r"git \d+\.\d+\S* is too old: get a newer one"):
        built(toy("exit 1", Tool("git", "get a newer one", (99,))))


def test_a_built_product_needs_no_build_tools() -> None:
    """Who has the product does not need the tools that made it."""
    place = built(toy("true"))
    assert built(toy("exit 1", Tool("no-such-tool", "get it"))) == place


@pytest.mark.parametrize("product", [KAFKA, INFLUXD])
def test_a_changed_input_is_another_product(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every input decides the place in the cache: after an edit the old product is not taken for the new one."""
    copy = tmp_path / "inputs"
    shutil.copytree(native_build.inputs_folder(), copy)
    original = product.place()
    monkeypatch.setattr(native_build, "inputs_folder", lambda: copy)
    assert product.place() == original
    for name in product.inputs:
        before = product.place()
        with (copy / name).open("a") as file:
            file.write("\n")
        assert product.place() != before


def test_every_input_counts() -> None:
    """No file of the inputs' folder is forgotten by the digest, except the words about them."""
    folder = native_build.inputs_folder()
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files - {"README.md"} == {*KAFKA.inputs, *INFLUXD.inputs}


def test_the_cache_is_where_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$PLANWATCH_CACHE wins; else it is a folder of ours in the user's cache."""
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("PLANWATCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "planwatch"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "planwatch"
