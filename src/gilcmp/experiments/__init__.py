"""What people are told about the GIL: a module for each claim, with the experiment that tests it."""
