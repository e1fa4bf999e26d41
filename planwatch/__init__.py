"""The program: command line, configuration, wiring. The only place that picks adapters."""

__version__ = "0.1.0"
