"""Real Kafka and InfluxDB without Docker, part one: made from their makers' packages, and kept in a cache.

Kafka's jars come from Maven Central; InfluxDB is compiled from its Go module. What is built, and from which versions,
stands in `deploy/native/`. A product is kept under its version and a digest of everything that it was made from, so
that a changed input is a new product. It is made aside and renamed: a build that is killed leaves no half product.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from planwatch.printing import errors
from schemas.base import PlanwatchError
from storage.lease import Lease

BUILD_TIMEOUT_S = 3600
PROBE_TIMEOUT_S = 60
PROGRESS_EVERY_S = 30
LOG_LINES_SHOWN = 15


@dataclass(frozen=True)
class Tool:
    """A program that must be on the PATH, in a version that will do."""

    name: str
    install: str
    minimum: tuple[int, ...] = ()
    probe: str = "--version"

    def lack(self) -> str | None:
        """What is wrong and what to install; None when nothing is."""
        if shutil.which(self.name) is None:
            return f"{self.name} is missing: {self.install}"
        try:
            said = subprocess.run(  # noqa: S603 (our own list of tools)
                [self.name, self.probe],
                check=False,
                capture_output=True,
                text=True,
                env=_environment(),
                timeout=PROBE_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{self.name} does not run ({error}): {self.install}"
        text = re.sub(r"\x1b\[[\d;]*m", "", said.stdout + said.stderr).strip()  # Maven colours its version
        if said.returncode != 0:
            return f"{self.name} does not run ({text.splitlines()[0] if text else 'no output'}): {self.install}"
        found = re.search(r"\d+(?:\.\d+)*", text)
        version = tuple(int(part) for part in found[0].split(".")) if found else ()
        if version < self.minimum:
            return f"{self.name} {'.'.join(map(str, version))} is too old: {self.install}"
        return None


JAVA = Tool("java", "install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)", (17,), "-version")
MAVEN = Tool("mvn", "install Maven 3.6 or newer (Debian: apt-get install maven)", (3, 6))
GO = Tool("go", "install Go 1.21 or newer (https://go.dev/dl/)", (1, 21), "version")
CARGO = Tool("cargo", "install Rust 1.72 or newer (https://rustup.rs, then: rustup toolchain install stable)", (1, 72))
CC = Tool("cc", "install a C compiler (Debian: apt-get install gcc libc6-dev)")
PKG_CONFIG = Tool("pkg-config", "install pkg-config (Debian: apt-get install pkg-config)")


@dataclass(frozen=True)
class Product:
    """Something to build: `make(inputs, work, out, run)` fills the folder `out`, using `work` for what is in between."""

    name: str
    inputs: tuple[str, ...]  # files below the inputs' folder; the first names the version
    version_like: str  # how it does: an expression with the version as its group
    run_tools: tuple[Tool, ...]
    build_tools: tuple[Tool, ...]
    duration: str
    recipe: tuple[str, ...]  # what else decides the result
    make: Callable[[Path, Path, Path, Runner], None]

    def version(self) -> str:
        """The version that the inputs name."""
        path = inputs_folder() / self.inputs[0]
        found = re.search(self.version_like, path.read_text(encoding="utf-8"))
        if found is None:
            raise PlanwatchError(f"{path}: names no version of {self.name}.")
        return found[1]

    def place(self) -> Path:
        """The folder in the cache where it belongs, made or not."""
        digest = hashlib.sha256(repr((self.recipe, platform.machine())).encode())
        for name in self.inputs:
            digest.update(hashlib.sha256((inputs_folder() / name).read_bytes()).digest())
        return cache_folder() / f"{self.name}-{self.version()}-{digest.hexdigest()[:12]}"

    def lacks(self) -> list[str]:
        """Which tools are missing, and what to install: all that a build needs, or, once built, what it runs with."""
        tools = self.run_tools if self.place().is_dir() else (*self.run_tools, *self.build_tools)
        return [lack for tool in tools if (lack := tool.lack()) is not None]


class Runner:
    """Runs the commands of one build; their output goes to a log file, progress to standard error."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._deadline_s = time.monotonic() + BUILD_TIMEOUT_S

    def __call__(self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        """Run to the end. Raises PlanwatchError with the last lines of the log when it fails or takes too long."""
        started_s = time.monotonic()
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(  # noqa: S603 (our own commands)
                command,
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            while True:
                try:
                    code = process.wait(min(PROGRESS_EVERY_S, max(0.1, self._deadline_s - time.monotonic())))
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() >= self._deadline_s:
                        raise self._failure(command, f"took more than {BUILD_TIMEOUT_S // 60} minutes") from None
                    say(f"  … {command[0]} at work for {time.monotonic() - started_s:.0f} s (log: {self.log})")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code != 0:
            raise self._failure(command, f"ended with code {code}")

    def _failure(self, command: Sequence[str], what: str) -> PlanwatchError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return PlanwatchError(f"{command[0]} {what}. The end of {self.log}:\n" + "\n".join(f"  {li}" for li in lines))


def say(text: str) -> None:
    """A line of progress on standard error."""
    errors.print(text, markup=False, highlight=False, soft_wrap=True)


def inputs_folder() -> Path:
    """`deploy/native`: beside the packages in a checkout, inside the program when installed."""
    inside = Path(__file__).parent / "deploy" / "native"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "deploy" / "native"


def cache_folder() -> Path:
    """Where products are kept: $PLANWATCH_CACHE, else $XDG_CACHE_HOME/planwatch, else ~/.cache/planwatch."""
    if named := os.environ.get("PLANWATCH_CACHE"):
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "planwatch"


def _environment() -> dict[str, str]:
    """Ours, with the Rust toolchain named: Flux's library pins one that is years old."""
    return {"RUSTUP_TOOLCHAIN": "stable", **os.environ}


def _make_kafka(inputs: Path, work: Path, out: Path, run: Runner) -> None:
    shutil.copy(inputs / "kafka" / "pom.xml", work)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={out}"]
    run(["mvn", "--batch-mode", "--no-transfer-progress", *goal], work, _environment())


GO_FLAGS = ("-trimpath", "-tags=sqlite_foreign_keys,sqlite_json", "-ldflags=-s -w")


def _make_influxd(inputs: Path, work: Path, out: Path, run: Runner) -> None:
    source, tools, wrapper = work / "source", work / "tools", work / "rustc-wrapper.sh"
    shutil.copytree(inputs / "influxd", source)
    shutil.copy(inputs / wrapper.name, wrapper)
    wrapper.chmod(0o755)  # an installer may have dropped that
    # A Go cache of its own: InfluxData's pkg-config keeps its copy of Flux there and, killed while it copies, would
    # take the torn copy for a whole one ever after.
    environment = {
        "CC": "cc",
        **_environment(),
        "CGO_ENABLED": "1",
        "GOCACHE": str(work / "go-cache"),
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
    }
    for name in ("CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "PKG_CONFIG"):
        environment.pop(name, None)  # pkg-config looks for Flux where Cargo puts it by default
    run(["go", "build", "-o", str(tools / "pkg-config"), "github.com/influxdata/pkg-config"], source, environment)
    environment |= {
        "PATH": f"{tools}{os.pathsep}{environment['PATH']}",
        "PKG_CONFIG": str(tools / "pkg-config"),
        "RUSTC_WRAPPER": str(wrapper),
    }
    run(["go", "build", *GO_FLAGS, "-o", str(out / "influxd"), "."], source, environment)


KAFKA = Product(
    name="kafka",
    inputs=("kafka/pom.xml",),
    version_like=r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([^<]+)<",
    run_tools=(JAVA,),
    build_tools=(MAVEN,),
    duration="some seconds",
    recipe=(),
    make=_make_kafka,
)
INFLUXD = Product(
    name="influxd",
    inputs=("influxd/go.mod", "influxd/go.sum", "influxd/main.go", "influxd/tools.go", "rustc-wrapper.sh"),
    version_like=r"github\.com/influxdata/influxdb/v2 v(\S+)",
    run_tools=(),
    build_tools=(GO, CARGO, CC, PKG_CONFIG),
    duration="some minutes, once",
    recipe=GO_FLAGS,
    make=_make_influxd,
)


def kafka_classpath() -> Path:
    """The folder of Kafka's jars, made if need be; `java -cp FOLDER/*` takes them all.

    Raises PlanwatchError when a tool is missing (naming what to install) or the build fails (with its last lines).
    """
    return built(KAFKA)


def influxd_binary() -> Path:
    """The InfluxDB 2 server, compiled if need be. Raises PlanwatchError as `kafka_classpath` does."""
    return built(INFLUXD) / "influxd"


def built(product: Product) -> Path:
    """The product's folder in the cache, made if need be; of several who ask at once, one builds and the others wait."""
    if lacks := product.lacks():
        raise PlanwatchError(f"{product.name} {product.version()} needs tools:\n" + "\n".join(f"  {x}" for x in lacks))
    place = product.place()
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlanwatchError(f"{place.parent}: cannot be made: {error.strerror}. Set PLANWATCH_CACHE.") from error
    with _sole_builder(product):
        if not place.is_dir():
            _build(product, place)
    return place


def _build(product: Product, place: Path) -> None:
    """Make it aside, then put it in place with one rename. The caller is the sole builder of the product."""
    prefix = f".building-{product.name}-"
    for left_over in place.parent.glob(f"{prefix}*"):
        shutil.rmtree(left_over, ignore_errors=True)
    log = place.parent / f"{product.name}.log"
    log.unlink(missing_ok=True)
    say(f"Building {product.name} {product.version()} ({product.duration}; log: {log}) …")
    started_s = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=place.parent))
    try:
        out = work / "out"
        out.mkdir()
        product.make(inputs_folder(), work, out, Runner(log))
        out.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"Built {place} in {time.monotonic() - started_s:.0f} s.")


@contextmanager
def _sole_builder(product: Product) -> Iterator[None]:
    lease = Lease(cache_folder() / f"{product.name}.lock")
    deadline_s = time.monotonic() + BUILD_TIMEOUT_S
    waits = False
    while not lease.acquire():
        if not waits:
            say(f"Waiting for the process {lease.holder()}, which builds {product.name} …")
            waits = True
        if time.monotonic() >= deadline_s:
            raise PlanwatchError(f"{lease.path}: process {lease.holder()} has been building for too long. End it.")
        time.sleep(0.5)
    try:
        yield
    finally:
        lease.release()


def build_all() -> bool:
    """Build what is not built yet, and say so on standard error. False when tools are missing or a build failed."""
    fine = True
    for product in (KAFKA, INFLUXD):
        try:
            say(f"{product.name} {product.version()}: {built(product)}")
        except PlanwatchError as error:
            say(str(error))
            fine = False
    return fine
