"""Alerts: rule → lifecycle → group → route → deliver. Decisions are pure; effects stand at the edges."""
