"""The language of Planwatch: the models that every other package speaks in."""
