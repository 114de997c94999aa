"""An embedded Databricks workspace: the serving-endpoints API over SQLite, in process or over HTTP.

In process: ``session.mount("http://local", EmulatorAdapter(open_local("local:PATH")))`` (``adapter.py``).
Over HTTP: ``python -m reconciler.emulator`` (``server.py``, needs ``reconciler[emulator]``). In tests:
``testing.py``.
"""

from reconciler.emulator.local import open_local
from reconciler.emulator.wire import Handler, Request, Response
from reconciler.emulator.workspace import Workspace, WriteLimit

__all__ = ["Handler", "Request", "Response", "Workspace", "WriteLimit", "open_local"]
