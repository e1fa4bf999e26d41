"""The stack as Docker Compose starts it: pinned, confined, healthy, secrets from files, commands that exist."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from planwatch import __version__
from planwatch.cli import app
from planwatch.home import Home

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
DOCKERFILE = (ROOT / "deploy" / "image" / "Dockerfile").read_text(encoding="utf-8")
OURS = f"planwatch:{__version__}"
ONCE = {"secrets", "init", "dashboards"}  # run and end
UNASKED = {"simulator"}  # has nothing to ask: when it fails, it ends
VARIABLE = re.compile(r"\$\{(\w+)(?::?-((?:[^{}]|\{[^{}]*\})*))?\}")


def interpolated(value: Any) -> Any:
    """The file's values with the defaults of its variables, as with an empty environment."""
    if isinstance(value, dict):
        return {name: interpolated(item) for name, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item) for item in value]
    return VARIABLE.sub(lambda match: match[2] or "", value) if isinstance(value, str) else value


FILE: dict[str, Any] = interpolated(YAML(typ="safe", pure=True).load((COMPOSE / "compose.yaml").read_text()))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
PLANWATCH = {name: service for name, service in SERVICES.items() if service["image"] == OURS}
every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def commands_of(name: str) -> list[list[str]]:
    """What a service of our image runs: its command, and the lines of a script that it is started with."""
    service = SERVICES[name]
    if "entrypoint" not in service:
        return [service["command"]]
    script = next(Path(part).name for part in service["entrypoint"] if part.startswith("/deploy/"))
    lines = (COMPOSE / script).read_text(encoding="utf-8").splitlines()
    return [line.split()[1:] for line in lines if line.startswith("planwatch ")]


def test_the_services_are_all_there() -> None:
    """Kafka, InfluxDB, Grafana, a bridge, two workers, a scheduler, a board, and a company to look at without a profile.

    Those that end where no source needs them have one.
    """
    assert {"kafka", "influxdb", "grafana", "init", "bridge", "worker-1", "worker-2", "scheduler", "board"} < set(
        SERVICES
    )
    assert "simulator" in SERVICES
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"watch", "subscribe"}


@every_service
def test_images_are_pinned(name: str) -> None:
    """Exact versions: never `latest`, which for InfluxDB is another product."""
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert re.fullmatch(r"\d+\.\d+\.\d+", tag), SERVICES[name]["image"]
    assert image in {"planwatch", "apache/kafka", "influxdb", "grafana/grafana"}
    assert image != "influxdb" or tag.startswith("2.7.")


@every_service
def test_nothing_is_privileged(name: str) -> None:
    """No root, no capability, no way to gain one, nothing of the host but files that are named."""
    service = SERVICES[name]
    assert str(service["user"]).split(":")[0] not in ("0", "root", "")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "pid", "ipc", "devices", "cap_add", "userns_mode"} & set(service)
    assert service.get("network_mode", "none") == "none"
    # Kafka's start script writes its configuration beside the program.
    assert service.get("read_only", False) == (service["image"] != "apache/kafka:4.1.1")


@every_service
def test_every_service_is_watched(name: str) -> None:
    """What runs for long has a health check and comes back; what runs once has neither, but a few tries."""
    service = SERVICES[name]
    if name in ONCE:
        assert service["restart"] == "on-failure:3"
    else:
        assert service["restart"] == "unless-stopped"
    if name in ONCE | UNASKED:
        assert service["healthcheck"] == {"disable": True}
    else:
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])


@pytest.mark.parametrize("name", sorted(set(PLANWATCH) - ONCE - UNASKED))
def test_our_health_checks_ask_where_the_role_answers(name: str) -> None:
    """/readyz on the port that the operations server is given."""
    port = SERVICES[name]["environment"]["PLANWATCH_OPS__PORT"]
    *interpreter, code = SERVICES[name]["healthcheck"]["test"]
    assert interpreter == ["CMD", "python", "-I", "-c"]
    assert f"http://127.0.0.1:{port}/readyz" in code
    compile(code, name, "exec")


@every_service
def test_resources_are_limited(name: str) -> None:
    """Memory, processor and processes; logs too."""
    limits = SERVICES[name]["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} == set(limits)
    assert SERVICES[name]["logging"]["options"]["max-size"]


@every_service
def test_dependencies_have_conditions(name: str) -> None:
    """Nobody starts before what it needs: a server is waited for until it is healthy, a step until it is done."""
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert how == {"condition": wanted}, (name, other)


def test_the_long_running_roles_wait_for_the_setup() -> None:
    """Topics, buckets and tokens are there before anybody uses them."""
    for name in set(PLANWATCH) - ONCE | {"grafana"}:
        assert "init" in SERVICES[name]["depends_on"], name
    assert "secrets" in SERVICES["influxdb"]["depends_on"]


@every_service
def test_ports_are_open_on_this_machine_only(name: str) -> None:
    """Nothing is published on another address than loopback."""
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port


@every_service
def test_what_is_mounted_exists(name: str) -> None:
    """Files of the repository are there and read-only; volumes are declared."""
    for mount in SERVICES[name].get("volumes", []):
        if mount["type"] == "bind":
            source = (COMPOSE / mount["source"]).resolve()
            assert source.exists(), source
            assert source.is_relative_to(ROOT)
            assert mount["read_only"] is True
            assert mount["bind"] == {"create_host_path": False}
        else:
            assert mount["type"] == "volume"
            assert mount["source"] in FILE["volumes"]


def test_folders_in_a_read_only_home_have_a_place() -> None:
    """What is mounted below the home needs a folder there, for the home itself cannot be written."""
    inside = {
        Path(target).relative_to("/planwatch").parts[0]
        for service in PLANWATCH.values()
        for target in [
            *(mount["target"] for mount in service["volumes"]),
            *(entry.partition(":")[0] for entry in service["tmpfs"]),
        ]
        if target.startswith("/planwatch/")
    }
    assert inside == {"data", "secrets"}
    for folder in inside:
        assert (ROOT / "examples" / "stack" / folder / ".gitignore").read_text(encoding="utf-8").splitlines()[1] == "*"


def test_every_volume_is_used() -> None:
    """None is left over."""
    used = {m["source"] for s in SERVICES.values() for m in s.get("volumes", []) if m["type"] == "volume"}
    assert used == set(FILE["volumes"])


@every_service
def test_secrets_come_from_files(name: str) -> None:
    """No value of an environment is a secret: what is named like one names a file."""
    for variable in SERVICES[name].get("environment", {}):
        if re.search(r"PASSWORD|TOKEN|SECRET|KEY", variable):
            assert variable.endswith("_FILE"), variable


def test_only_its_own_secrets_are_seen() -> None:
    """InfluxDB and Grafana mount their own volume and not ours."""
    for name in ("influxdb", "grafana", "kafka"):
        sources = {mount["source"] for mount in SERVICES[name]["volumes"] if mount["type"] == "volume"}
        assert "secrets" not in sources
        assert len([source for source in sources if source.startswith("for-")]) == (name != "kafka")


@pytest.mark.parametrize("name", sorted(PLANWATCH))
def test_commands_exist(name: str) -> None:
    """What our image is started with is a command of the program, down to its subcommand."""
    if name == "secrets":
        return
    assert commands_of(name)
    for words in commands_of(name):
        command: Any = get_command(app)
        names, options = [w for w in words if not w.startswith("-")], [w for w in words if w.startswith("-")]
        for word in names:
            assert word in getattr(command, "commands", {}), f"planwatch {' '.join(words)}"
            command = command.commands[word]
        assert not hasattr(command, "commands")
        assert set(options) <= {option for parameter in command.params for option in parameter.opts}


def test_settings_from_the_environment_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every PLANWATCH variable takes effect on the example's configuration."""
    for name in PLANWATCH:
        for variable, value in SERVICES[name]["environment"].items():
            monkeypatch.setenv(variable, str(value))
    config = Home(ROOT / "examples" / "stack").config
    assert config.kafka is not None
    assert config.influx is not None
    assert config.grafana is not None
    assert config.kafka.bootstrap == "kafka:9092"
    assert (config.influx.url, config.grafana.influx_url) == ("http://influxdb:8086", "http://influxdb:8086")
    assert config.grafana.url == "http://grafana:3000"
    assert config.worker.snapshots == "/var/lib/planwatch/snapshots"
    assert (config.ops.host, config.ops.port) == ("0.0.0.0", 9400)
    assert (config.board.host, config.board.token_file) == ("0.0.0.0", "secrets/board.token")
    assert [receiver.kind for receiver in config.receivers] == ["console", "board", "grafana"]
    known = {f"PLANWATCH_{part.upper()}" for part in type(config).model_fields} | {"PLANWATCH_LOG"}
    variables = {v.partition("__")[0] for s in PLANWATCH.values() for v in s["environment"]}
    assert variables <= known


def test_the_simulated_company_has_a_topic() -> None:
    """The home has a source with a topic, and the setup makes the sources' topics too."""
    config = Home(ROOT / "examples" / "stack").config
    assert [(source.kind, source.topic) for source in config.sources.values()] == [("salesforce", "crm.demo.cdc")]
    assert ["topics", "apply", "--sources"] in commands_of("init")


class TestGrafana:
    """What Grafana is given and what its provisioning asks for."""

    PROVISIONING = (ROOT / "deploy/grafana/provisioning/datasources/planwatch.yaml").read_text(encoding="utf-8")

    def test_variables_of_the_provisioning_are_set(self) -> None:
        """Each `${NAME}` in it has a value."""
        names = set(re.findall(r"\$\{(\w+)\}", self.PROVISIONING))
        assert names
        assert names <= set(SERVICES["grafana"]["environment"])

    def test_the_token_lies_where_it_is_read(self, tmp_path: Path) -> None:
        """The hand-over writes the file that `$__file` names, into the volume that Grafana mounts there."""
        path = Path(re.findall(r"\$__file\{([^}]+)\}", self.PROVISIONING)[0])
        (mount,) = [m for m in SERVICES["grafana"]["volumes"] if m["target"] == str(path.parent)]
        assert mount["source"] == "for-grafana"
        make_secrets(tmp_path, "create")
        (tmp_path / "secrets" / "influx-grafana.token").write_text("read-only-token\n")
        make_secrets(tmp_path, "hand-over")
        assert (tmp_path / "for-grafana" / path.name).read_text() == "read-only-token"


def make_secrets(folder: Path, step: str) -> str:
    """Run a step of make_secrets.py in folders of a test; gives what it printed."""
    places = {"PLANWATCH_SECRETS_DIR": "secrets", "FOR_INFLUXDB_DIR": "for-influxdb", "FOR_GRAFANA_DIR": "for-grafana"}
    for place in places.values():
        (folder / place).mkdir(exist_ok=True)
    environment = {**os.environ, **{variable: str(folder / place) for variable, place in places.items()}}
    command = [sys.executable, "-I", str(COMPOSE / "make_secrets.py"), step]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


class TestSecrets:
    """What make_secrets.py makes."""

    @staticmethod
    def files(folder: Path) -> dict[str, str]:
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    def test_made_once(self, tmp_path: Path) -> None:
        """All that is read somewhere is made; a second start changes nothing; no two are the same but those that must."""
        printed = make_secrets(tmp_path, "create")
        made = self.files(tmp_path)
        assert set(made) == {
            "secrets/influx-admin.token",
            "secrets/grafana.password",
            "secrets/board.token",
            "for-influxdb/admin.token",
            "for-influxdb/password",
            "for-grafana/grafana.password",
        }
        assert made["secrets/influx-admin.token"] == made["for-influxdb/admin.token"]
        assert made["secrets/grafana.password"] == made["for-grafana/grafana.password"]
        assert len(set(made.values())) == 4
        assert all(len(secret) >= 32 for secret in made.values())
        assert not any(secret in printed for secret in made.values())
        assert make_secrets(tmp_path, "create") == ""
        assert self.files(tmp_path) == made

    def test_what_was_lost_is_made_again(self, tmp_path: Path) -> None:
        """A start that was interrupted is completed by the next one, and an own secret put there is kept."""
        make_secrets(tmp_path, "create")
        (tmp_path / "secrets" / "board.token").write_text("mine\n")
        (tmp_path / "for-influxdb" / "admin.token").unlink()
        make_secrets(tmp_path, "create")
        found = self.files(tmp_path)
        assert found["secrets/board.token"] == "mine\n"
        assert found["for-influxdb/admin.token"] == found["secrets/influx-admin.token"]

    def test_ours_are_private(self, tmp_path: Path) -> None:
        """Readable by their owner alone; what another user has to read lies in a volume that only its server mounts."""
        make_secrets(tmp_path, "create")
        for path in (tmp_path / "secrets").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for path in [*(tmp_path / "for-influxdb").iterdir(), *(tmp_path / "for-grafana").iterdir()]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o444

    def test_influxdb_is_set_up_with_them(self) -> None:
        """The files that InfluxDB's first start reads are those that are made, and bucket and organisation are ours."""
        environment = SERVICES["influxdb"]["environment"]
        (mount,) = [m for m in SERVICES["influxdb"]["volumes"] if m["source"] == "for-influxdb"]
        read = {Path(value) for name, value in environment.items() if name.endswith("_FILE")}
        assert read == {Path(mount["target"]) / name for name in ("password", "admin.token")}
        influx = Home(ROOT / "examples" / "stack").config.influx
        assert influx is not None
        assert environment["DOCKER_INFLUXDB_INIT_ORG"] == influx.org
        assert environment["DOCKER_INFLUXDB_INIT_BUCKET"] == influx.bucket


class TestImage:
    """deploy/image/Dockerfile."""

    STAGES = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]

    def test_built_in_stages_from_a_pinned_base(self) -> None:
        """The compiler stays behind in the first."""
        bases = {stage.split()[0] for stage in self.STAGES}
        assert len(self.STAGES) == 2
        assert all(re.fullmatch(r"python:3\.1[12]\.\d+-slim-\w+", base) for base in bases), bases
        assert "gcc" in self.STAGES[0]
        assert not re.search(r"gcc|apt-get|pip install", self.STAGES[1])

    def test_no_root(self) -> None:
        """The user of the image is the one that compose names and that owns the folders of volumes."""
        (user,) = re.findall(r"^USER (\S+)$", self.STAGES[-1], flags=re.MULTILINE)
        assert user == "10001:10001"
        assert {service["user"] for service in PLANWATCH.values()} == {user}
        targets = {m["target"] for s in PLANWATCH.values() for m in s["volumes"] if m["type"] == "volume"}
        owned = re.search(r"install --directory --owner 10001 --group 10001(.*?)\nCOPY", self.STAGES[-1], re.DOTALL)
        assert owned is not None
        assert targets <= set(owned[1].split())

    def test_the_version_is_the_program_s(self) -> None:
        """Label and image name follow `planwatch version`."""
        assert f'org.opencontainers.image.version="{__version__}"' in self.STAGES[-1]
        assert f"-t {OURS} " in DOCKERFILE
        assert PLANWATCH

    def test_it_is_watched(self) -> None:
        """The health check asks the port that the image sets."""
        (code,) = re.findall(r'HEALTHCHECK .*\n\s+CMD \["python", "-I", "-c", "(.*)"\]', self.STAGES[-1])
        compile(code, "HEALTHCHECK", "exec")
        assert "/healthz" in code
        assert "PLANWATCH_OPS__PORT=9400" in self.STAGES[-1]

    def test_only_locked_versions_and_none_of_developers(self) -> None:
        """Names come from the project's dependencies, versions from the lock, and each name has one there."""
        assert "--requirement requirements.txt --constraint requirements.lock" in self.STAGES[0]
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
        locked = {normal(name) for name in re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE)}
        wanted = {normal(re.split(r"[<>=~!\[ ]", text)[0]) for text in project["dependencies"]}
        assert wanted <= locked
        assert "pip install" in self.STAGES[0]
        assert "[dev]" not in DOCKERFILE

    def test_what_the_build_needs_is_not_ignored(self) -> None:
        """.dockerignore lets the packages, what the wheel includes, and the lock through, and no secret or data."""
        lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        allowed = {line[1:] for line in lines if line.startswith("!")}
        wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
        needed = {*wheel["packages"], *(name.split("/")[0] for name in wheel["force-include"])}
        assert needed | {"pyproject.toml", "requirements.lock", "README.md"} <= allowed
        assert "*" in lines
        assert {"examples/*/data", "examples/*/secrets"} <= set(lines)
        assert not {".venv", ".git", "tests"} & allowed


def normal(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
