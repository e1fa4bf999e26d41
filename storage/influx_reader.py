"""Questions to InfluxDB in Flux: rows, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError, ProtocolError

from schemas.base import PlanwatchError
from schemas.stack import InfluxConfig
from storage.influx_connect import said

ROWS_MAX = 1_000_000
_OWN_COLUMNS = ("result", "table")


class InfluxReader:
    """Asks with the token of one role. `connect` gives a client when it is first used, and again when InfluxDB refuses."""

    def __init__(self, settings: InfluxConfig, connect: Callable[[], InfluxDBClient]) -> None:
        self._settings, self._connect = settings, connect
        self._client: InfluxDBClient | None = None

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of all tables of a Flux query, in order, each as column → value; an empty text is None.

        InfluxDB answers in CSV without carriage returns: a text has its line feeds, but not what was before them.
        Raises PlanwatchError when InfluxDB cannot be reached, does not let us read or does not understand.
        """
        try:
            return self._rows(query)
        except ProtocolError:
            pass  # a connection that was kept open across a restart of the server
        except ApiException as error:
            if error.status != 401:
                raise self._unanswered(error) from None
            self._client = None  # a new token may have been made
        except (HTTPError, OSError, FluxQueryException, FluxCsvParserException) as error:
            raise self._unanswered(error) from None
        try:
            return self._rows(query)
        except (ApiException, HTTPError, OSError, FluxQueryException, FluxCsvParserException) as error:
            raise self._unanswered(error) from None

    def _rows(self, query: str) -> list[dict[str, Any]]:
        self._client = self._client or self._connect()
        found: list[dict[str, Any]] = []
        for record in self._client.query_api().query_stream(query, org=self._settings.org):
            if len(found) == ROWS_MAX:
                raise PlanwatchError(f"A query gives more than {ROWS_MAX:,} rows. Ask for a shorter time.")
            found.append({name: _plain(value) for name, value in record.values.items() if name not in _OWN_COLUMNS})
        return found

    def _unanswered(self, error: Exception) -> PlanwatchError:
        where, status = self._settings.url, getattr(error, "status", None)
        if status in (401, 403):
            advice = "The token may not read; `planwatch influx apply` makes one that may."
        elif status == 404:
            advice = "The bucket is not there or the token may not read it; `planwatch influx apply` mends both."
        elif isinstance(error, (HTTPError, OSError)):
            advice = "Is it running? `planwatch doctor` looks."
        else:
            advice = "Its log says more."
        return PlanwatchError(f"{where}: InfluxDB does not answer a query: {said(error)}. {advice}")


def _plain(value: Any) -> Any:
    # The server writes each line feed in a text as CR LF.
    return value.replace("\r\n", "\n") if isinstance(value, str) else value
