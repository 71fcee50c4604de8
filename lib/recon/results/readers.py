"""YAML files, read the one way that takes them for what they look like."""

from pathlib import Path
from typing import Any

import yaml

from recon.errors import InputError

__all__ = ["read_yaml"]


class _Plain(yaml.SafeLoader):
    """Refuses aliases: a few lines of them stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"{event.start_mark}: an alias, *{event.anchor:.40}")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """What the file says; `InputError` if it cannot be read, is no YAML or has aliases."""
    try:
        # The loader is a safe one, which makes plain values only.
        return yaml.load(path.read_text(encoding="utf-8"), _Plain)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is no readable YAML file ({reason}): mend it.") from None
