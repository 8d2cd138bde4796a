"""The command line: parse, call the API, render. No logic lives here."""
