"""From files, environment and arguments to a store: settings, drivers and their options."""
