"""The command, from its first moment on: Ctrl-C is answered while it is still loading, too."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command."""
    try:
        from limbeck.cli import main as command

        command()
    except KeyboardInterrupt:
        print("limbeck: interrupted: the same command continues", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
