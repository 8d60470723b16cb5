"""Making several servers one: the manager, the engine interface, and one file per engine."""
