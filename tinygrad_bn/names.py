"""Did you mean: unknown names list the choices and the nearest one."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`, or None when nothing is."""
    from difflib import get_close_matches  # loaded only when somebody has mistyped

    by_spelling = {choice.lower(): choice for choice in choices}
    found = get_close_matches(name.lower(), by_spelling, n=1)
    return by_spelling[found[0]] if found else None


def unknown(kind: str, name: object, choices: Iterable[str], where: str = "") -> str:
    """The sentence for an unknown name: what came, what exists, and what was probably meant."""
    choices = sorted(choices)
    meant = nearest(name, choices) if isinstance(name, str) else None
    hint = f" Did you mean {meant!r}?" if meant else ""
    place = f" in {where}" if where else ""
    return f"unknown {kind} {name!r}{place}.{hint} Choices: {', '.join(choices) or 'none'}."
