"""The command ``python -m tinytl.data NAME FOLDER``: download official files."""

import argparse
import sys

from tinytl.data.download import fetch
from tinytl.data.official import OFFICIAL


def main(arguments: list[str] | None = None) -> int:
    """Download what the command line names; print where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m tinytl.data", description="Download the files of a data set."
    )
    parser.add_argument("dataset", choices=OFFICIAL)
    parser.add_argument("folder", nargs="?", default="data")
    options = parser.parse_args(arguments)
    try:
        paths = fetch(options.dataset, options.folder)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
