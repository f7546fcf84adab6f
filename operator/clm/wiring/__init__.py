"""Makes the parts of each process and joins them.

- `process.py`, `outside.py`: what any process needs: its name and clock; the token, the databases, the API server.
- `upkeep.py`: comparison, retention, erasure; for commands that are run once, and the controller's rounds.
- `controller.py`: the controller. It takes `issuing.py`, `reconciling.py`, `publishing.py`, `sealing.py`, `upkeep.py`.

Commands wire what little else they need in `cli/dependencies.py`. The responder is made of clm_core_db alone, and wires
itself (`responder/parts.py`).
"""
