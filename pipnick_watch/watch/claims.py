"""Which files leave something to do, as far as names and records tell."""

from collections.abc import Iterable
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
        self._names: set[str] = set()
        self._by_identity: dict[str, set[str]] = {}

    def note(self, names: Iterable[str]) -> None:
        """Take note of all the files that a scan has found."""
        found = set(names)
        # what it has not found may have come while it went on
        found.update(name for name in self._names - found if see(self._reduced / name) is not None)
        if found == self._names:
            return
        for name in self._names - found:
            self._by_identity.get(frame_identity(name), set()).discard(name)
        for name in found - self._names:
            self._by_identity.setdefault(frame_identity(name), set()).add(name)
        self._names = found

    def first_of(self, name: str) -> str:
        """Find the file that counts among those that hold this frame."""
        beside = self._by_identity.setdefault(frame_identity(name), set())
        beside.add(name)
        self._names.add(name)
        if len(beside) == 1:
            return name
        there = [one for one in beside if one == name or see(self._reduced / one) is not None]
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
