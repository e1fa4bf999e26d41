"""One little story of a sales team, and how each vendor's systems would tell it: made for the tests of the doors."""
