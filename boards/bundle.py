"""The Vega bundle for the browser, made by vl-convert from what it carries: nothing is fetched from anywhere."""

from __future__ import annotations

import gzip
import logging
import os
import tempfile
import threading
import zlib
from importlib.metadata import version
from pathlib import Path

log = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """Where the bundle is kept between starts."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "planwatch"


def bundle_version() -> str:
    """What decides the bundle. Read without importing the library, which takes a while."""
    return version("vl-convert-python")


class VegaBundle:
    """Makes the bundle on first demand (about a second), then keeps it in memory and, where it can, on disk."""

    def __init__(self, cache_dir: Path | None = None) -> None:
        self._cache_dir = cache_dir
        self._lock = threading.Lock()
        self._zipped: bytes | None = None

    def zipped(self) -> bytes:
        """The bundle, gzipped: every browser takes it so, and it is a quarter of the size."""
        with self._lock:
            if self._zipped is None:
                self._zipped = self._stored() or self._made()
            return self._zipped

    def _path(self) -> Path:
        return (self._cache_dir or default_cache_dir()) / f"vega-{bundle_version()}.js.gz"

    def _stored(self) -> bytes | None:
        try:
            data = self._path().read_bytes()
            gzip.decompress(data)
        except (OSError, EOFError, zlib.error, RuntimeError):  # absent, cut short, or no home directory
            return None
        return data

    def _made(self) -> bytes:
        import vl_convert

        data = gzip.compress(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").encode(), 6, mtime=0)
        try:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                file.write(data)
            Path(file.name).replace(path)
        except (OSError, RuntimeError) as error:  # a read-only home costs a second per start, nothing more
            log.debug("vega bundle not cached: %s", error)
        return data
