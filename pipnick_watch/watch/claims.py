"""Which files leave something to do, as far as names and records tell."""

import functools
import operator
from collections.abc import Collection, Iterable
from pathlib import Path

from pipnick_watch import __version__
from pipnick_watch.records import Entry, Records, same_frames
from pipnick_watch.records.layout import frame_identity
from pipnick_watch.settings import Settings
from pipnick_watch.watch.exclusions import Exclusions
from pipnick_watch.watch.ready import Candidate
from pipnick_watch.watch.scan import Seen, can_be_read, see

__all__ = ["SAME_FRAME", "Claims"]

SAME_FRAME = "same frame as "
"""How the reason of a file begins beside which another one counts."""


class Claims:
    """What the files of one MAINDIR ask for.

    Parameters
    ----------
    records : Records
    exclusions : Exclusions
    settings : Settings
    once : bool
        Frames whose settings or version differ are measured again.
    redo : iterable of str
        Frames to measure again, whatever is recorded.
    """

    def __init__(
        self,
        records: Records,
        exclusions: Exclusions,
        settings: Settings,
        *,
        once: bool,
        redo: Iterable[str],
    ) -> None:
        self.records = records
        self.exclusions = exclusions
        self.settings = settings
        self.fingerprint = settings.fingerprint()
        self.redo = set(redo)
        self._reduced: Path = records.layout.reduced
        self._once = once
        self._dealt_with: dict[str, Seen | None] = {}
        # of each frame the suffixes of its files, no more: there may be a hundred thousand
        self._beside: dict[str, tuple[str, ...]] = {}
        self._suffixes: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._mark: tuple[int, int] | None = None

    def note(self, names: Collection[str]) -> None:
        """Take note of all the files that a scan has found."""
        mark = (len(names), functools.reduce(operator.xor, map(hash, names), 0))
        if mark == self._mark:
            return
        found = set(names)
        for identity, suffixes in list(self._beside.items()):
            there = [one for one in suffixes if identity + one in found]
            if len(there) < len(suffixes):
                # what it has not found may have come while it went on
                there = [one for one in suffixes if one in there or self._is_there(identity + one)]
                self._beside[identity] = self._shared(*there)
                if not there:
                    del self._beside[identity]
        for name in names:
            self._take_note(name)
        self._mark = mark

    def _take_note(self, name: str) -> list[str]:
        """Note that there is this file; give all that hold the same frame."""
        identity = frame_identity(name)
        suffix = name.removeprefix(identity)
        suffixes = self._beside.get(identity, ())
        if suffix not in suffixes:
            suffixes = self._beside[identity] = self._shared(*suffixes, suffix)
            self._mark = None
        return [identity + one for one in suffixes]

    def _shared(self, *suffixes: str) -> tuple[str, ...]:
        """Give one and the same object for all frames whose files have these suffixes."""
        return self._suffixes.setdefault(suffixes, suffixes)

    def _is_there(self, name: str) -> bool:
        return see(self._reduced / name) is not None

    def first_of(self, name: str) -> str:
        """Find the file that counts among those that hold this frame."""
        beside = self._take_note(name)
        if len(beside) == 1:
            return name
        there = [one for one in beside if one == name or self._is_there(one)]
        return same_frames(there).get(name, name)

    def deal_with(self, name: str, seen: Seen | None) -> None:
        """Note that ``--once`` has come to an end with this file, as long as it looks the same."""
        if self._once:
            self._dealt_with[name] = seen

    def again(self, name: str) -> None:
        """Note that there is something to do after all: a frame was commented in, say."""
        self._dealt_with.pop(name, None)

    def wanted(self, name: str, seen: Seen, entry: Entry | None) -> bool:
        """Tell whether what is recorded of a file leaves something to do."""
        if name in self._dealt_with and self._dealt_with[name] == seen:
            return False
        if entry is None or name in self.redo:
            return True
        if (entry.size, entry.mtime_ns) != (seen.size, seen.mtime_ns):
            return True
        if entry.reason.startswith(SAME_FRAME):
            return self.first_of(name) == name
        if entry.status == "excluded":
            return self.exclusions.lifted(entry)
        if self._once and not self.current(entry):
            return True
        return entry.status == "failed" and self._can_be_had_now(entry)

    def only_lifted(self, seen: Seen, entry: Entry) -> bool:
        """Tell whether a file that is wanted is as it was when it was excluded."""
        same = (entry.size, entry.mtime_ns) == (seen.size, seen.mtime_ns)
        return entry.status == "excluded" and same and entry.frame not in self.redo

    def known_hashes(self, one: Candidate) -> tuple[str, ...]:
        """Give the hashes of content that need not be measured.

        That is what is recorded of this file, if only its time has changed, and what is recorded
        of files that are gone and had its size and time: it may be one of them, renamed.
        """
        if one.afresh or one.name in self.redo or one.seen is None:
            return ()
        older = self.records.gone(one.name, one.seen.size, one.seen.mtime_ns)
        known = [entry.sha256 for entry in older if self.current(entry)]
        return tuple(filter(None, [*known, self.own_hash(one.name)]))

    def own_hash(self, name: str) -> str:
        """Give the hash of a file's content whose rows stand as they are; empty without such."""
        entry = self.records.entry(name)
        if entry is None or entry.status != "done" or (self._once and not self.current(entry)):
            return ""
        return entry.sha256

    def current(self, entry: Entry) -> bool:
        """Tell whether an entry was made with these settings by this version."""
        grouped = entry.consol_bytes is not None or not self.settings.photometry.group
        return entry.settings == self.fingerprint and entry.version == __version__ and grouped

    def _can_be_had_now(self, entry: Entry) -> bool:
        """Tell whether what a failed frame lacked, and not its content, may be there now."""
        if entry.reason.startswith("cannot be "):
            return can_be_read(self._reduced / entry.frame)
        return entry.reason.startswith("locked")
