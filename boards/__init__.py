"""Boards: a `BoardView` drawn for people. The web board lives in `app`; `marks` and `charts` define each drawing once."""
