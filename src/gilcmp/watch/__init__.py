"""Native watchers of the interpreter's lock: sampler, waiter, recorder; only the waiter ever asks for the lock."""
