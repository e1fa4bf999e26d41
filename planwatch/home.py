"""A home: the folder that holds configuration and embedded state, read and validated once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from processors.query import Catalogue, catalogue
from schemas.base import PlanwatchError
from schemas.config import Config
from schemas.measures import MeasureFile
from schemas.plan import Plan
from schemas.yaml_text import load_yaml

M = TypeVar("M", bound=BaseModel)


class Settings(BaseSettings, Config):
    """planwatch.yaml under the environment: PLANWATCH_BOARD__PORT=8080 overrides `board.port`."""

    model_config = SettingsConfigDict(
        env_prefix="PLANWATCH_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file."""
        return env_settings, init_settings


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain data. Raises PlanwatchError with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PlanwatchError(f"{path}: there is no such file. `planwatch init` writes one.") from None
    except UnicodeDecodeError:
        raise PlanwatchError(f"{path}: this is not UTF-8 text.") from None
    data = load_yaml(text, str(path))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise PlanwatchError(f"{path}: expected settings («name: value»), found {type(data).__name__}.")
    if strange := [name for name in data if not isinstance(name, str)]:
        raise PlanwatchError(
            f"{path}: {str(strange[0])[:80]!r} is not the name of a setting; remove it or put it in quotes."
        )
    return data


def read_model(path: Path, model: type[M]) -> M:
    """A YAML file as a model. Raises PlanwatchError naming the file and every setting that is wrong."""
    data = read_yaml(path)
    try:
        return model(**data)
    except ValidationError as error:
        lines = [f"  {'.'.join(str(p) for p in e['loc']) or '(file)'}: {e['msg']}" for e in error.errors()]
        raise PlanwatchError(f"{path}:\n" + "\n".join(lines)) from None
    except SettingsError as error:
        raise PlanwatchError(f"{path}: a PLANWATCH_ variable of the environment cannot be read: {error}.") from None


#: Settings of the stack: those of a tenant's home come from the home that runs it.
STACK_SETTINGS = ("kafka", "influx", "grafana", "worker", "ops")


class Home:
    """Paths and validated settings of one home. `stack` is the home whose servers it uses, where that is another one."""

    def __init__(self, path: Path, stack: Home | None = None) -> None:
        self.path = path
        if not (path / "planwatch.yaml").is_file():
            raise PlanwatchError(f"{path}: no planwatch.yaml here. Run `planwatch --home {path} init` first.")
        config: Config = read_model(path / "planwatch.yaml", Settings)
        if config.kafka is not None:
            kafka = config.kafka.model_copy(update={"security": config.kafka.security.under(path)})
            config = config.model_copy(update={"kafka": kafka})
        if stack is None and config.stack is not None:
            stack = Home(path / config.stack)
        shared = {name: getattr(stack.config, name) for name in STACK_SETTINGS} if stack else {}
        self.config: Config = config.model_copy(update=shared)
        #: Where the servers' secrets and the workers' snapshots are.
        self.stack_path: Path = stack.stack_path if stack else path

    def tenants(self) -> dict[str, Home]:
        """The homes of all tenants by name: the folders named under `tenants`, or this home alone.

        Raises PlanwatchError for a folder without a configuration and for a name that is used twice.
        """
        if not self.config.tenants:
            return {self.config.tenant: self}
        found: dict[str, Home] = {}
        for pattern in self.config.tenants:
            folders = sorted(p for p in self.path.glob(pattern) if p.is_dir())
            if not folders:
                raise PlanwatchError(f"{self.path / 'planwatch.yaml'}: tenants: there is no folder «{pattern}».")
            for folder in folders:
                home = Home(folder, self)
                other = found.setdefault(home.config.tenant, home)
                if other.path != home.path:
                    raise PlanwatchError(
                        f"{folder}: the tenant «{home.config.tenant}» is that of {other.path} too; give each its own name."
                    )
        return found

    def plan(self) -> Plan:
        """The plan document; an empty plan where there is none."""
        path = self.path / self.config.plan
        if not path.is_file():
            return Plan(name="No plan yet", horizon=("1970-01-01", "2999-12-31"))
        return read_model(path, Plan)

    def catalogue(self) -> Catalogue:
        """Measures and KPIs: ours and those of the home."""
        if self.config.measures is None:
            return catalogue()
        return catalogue(read_model(self.path / self.config.measures, MeasureFile))

    def rules_text(self) -> str | None:
        """The text of the rules file, if there is one."""
        if self.config.alerts is None:
            return None
        path = self.path / self.config.alerts
        return path.read_text(encoding="utf-8") if path.is_file() else None

    @property
    def data(self) -> Path:
        """Where the embedded state is kept."""
        folder = self.path / "data"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
