"""The atlas: what functions of many libraries do to the GIL, beside what their documents say."""
