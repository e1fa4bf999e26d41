"""A home: the folder that holds configuration and embedded state, read and validated once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from processors.query import Catalogue, catalogue
from schemas.base import PlanwatchError
from schemas.config import Config
from schemas.measures import MeasureFile
from schemas.plan import Plan

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
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanwatchError(f"{path}: there is no such file. `planwatch init` writes one.") from None
    except UnicodeDecodeError:
        raise PlanwatchError(f"{path}: this is not UTF-8 text.") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PlanwatchError(f"{path}, line {line}: {error.problem}.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise PlanwatchError(f"{path}: expected settings («name: value»), found {type(data).__name__}.")
    return data


def read_model(path: Path, model: type[M]) -> M:
    """A YAML file as a model. Raises PlanwatchError naming the file and every setting that is wrong."""
    data = read_yaml(path)
    try:
        return model(**data)
    except ValidationError as error:
        lines = [f"  {'.'.join(str(p) for p in e['loc']) or '(file)'}: {e['msg']}" for e in error.errors()]
        raise PlanwatchError(f"{path}:\n" + "\n".join(lines)) from None


class Home:
    """Paths and validated settings of one home."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "planwatch.yaml").is_file():
            raise PlanwatchError(f"{path}: no planwatch.yaml here. Run `planwatch --home {path} init` first.")
        self.config: Config = read_model(path / "planwatch.yaml", Settings)

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
