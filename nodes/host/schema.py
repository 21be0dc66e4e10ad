"""Node schemas for any supported host: arguments that a host does not know yet are left out."""

import dataclasses
import inspect

from comfy_api.latest import io


def schema(**arguments) -> io.Schema:
    """`io.Schema`, less what this host's lacks (0.8 has no `search_aliases` and no `has_intermediate_output`)."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in arguments.items() if name in known})


# The mark of an input that the front end folds away until it is asked for, where the host knows it (0.8 does not).
ADVANCED = {"advanced": True} if "advanced" in inspect.signature(io.Int.Input.__init__).parameters else {}
