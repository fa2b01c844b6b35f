"""Pure functions of saved data: estimates, verdicts, comparisons, findings, differences."""
