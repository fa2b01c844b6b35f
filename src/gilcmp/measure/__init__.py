"""What runs work and times it: requests, jobs, strategies, clocks, the machine, other interpreters."""
