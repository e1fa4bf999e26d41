"""Who gets an alert: recipients by name and address, read from the records."""

from __future__ import annotations

from processors.state import State


class Directory:
    """Looks up recipients such as "rep:<id>" or "team:<id>" in the state."""

    def __init__(self, state: State) -> None:
        self.state = state

    def person(self, recipient: str) -> tuple[str, str | None]:
        """(name, e-mail address or none) of a recipient."""
        entity, _, record_id = recipient.partition(":")
        table = self.state.tables.get(entity)
        code = self.state.names.codes.get(record_id)
        if table is None or code is None or code not in table.slots:
            return (record_id or self.state.config.company if entity == "company" else recipient), None
        slot = table.slots[code]
        names = self.state.names
        name = names.text(table.value("name", slot)) or record_id
        return name, names.text(table.value("email", slot))
