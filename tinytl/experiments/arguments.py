"""Numbers on the command line."""

import argparse


class number:
    """An integer of at least `least`, as argparse wants it."""

    def __init__(self, least: int):
        self.least = least

    def __call__(self, text: str) -> int:
        """The number, or the error that argparse shows."""
        try:
            value = int(text)
        except ValueError:
            value = self.least - 1
        if value < self.least:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no integer of {self.least} or more"
            )
        return value
