"""Every kind of saved result in one HTML file."""
