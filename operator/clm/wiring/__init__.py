"""Wires the parts of each process: the controller, and the commands that are run once. The responder wires itself."""
