"""``python -m pipnick_watch`` is ``pipnick-watch``."""

from pipnick_watch.cli import watch_command

if __name__ == "__main__":
    watch_command()
