"""Who works on what next: live frames first, then what follows the rows, then the backfill."""

from pipnick_watch.records import Records
from pipnick_watch.settings import Settings
from pipnick_watch.watch.backlog import Backlog
from pipnick_watch.watch.claims import Claims
from pipnick_watch.watch.crew import Crew
from pipnick_watch.watch.exclusions import Exclusions
from pipnick_watch.watch.gallery import Gallery
from pipnick_watch.watch.gate import Gate
from pipnick_watch.watch.jobs import Job
from pipnick_watch.watch.outbox import Outbox
from pipnick_watch.watch.overview import Overview
from pipnick_watch.watch.ready import Candidate
from pipnick_watch.watch.solutions import Solutions

__all__ = ["Roster"]


class Roster:
    """Gives the work of one MAINDIR to free workers.

    Parameters
    ----------
    settings : Settings
    records : Records
    crew : Crew
    backlog : Backlog
    gate : Gate
    claims : Claims
    outbox : Outbox
    exclusions : Exclusions
    gallery : Gallery
    solutions : Solutions
    overview : Overview
    once : bool
        Light curves and page are made last, and no worker is kept free.
    """

    def __init__(
        self,
        settings: Settings,
        records: Records,
        *,
        crew: Crew,
        backlog: Backlog,
        gate: Gate,
        claims: Claims,
        outbox: Outbox,
        exclusions: Exclusions,
        gallery: Gallery,
        solutions: Solutions,
        overview: Overview,
        once: bool,
    ) -> None:
        self.settings = settings
        self.records = records
        self.crew = crew
        self.backlog = backlog
        self.gate = gate
        self.claims = claims
        self.outbox = outbox
        self.exclusions = exclusions
        self.gallery = gallery
        self.solutions = solutions
        self.overview = overview
        self._once = once

    @property
    def n_busy(self) -> int:
        """How many workers are at this night's frames and what follows them."""
        return len(self.crew) + self._n_behind

    @property
    def _n_behind(self) -> int:
        return self.gallery.n_drawing + self.solutions.n_placing + self.overview.n_making

    def dispatch(self) -> None:
        """Give work to free workers until there is none of either."""
        while self.n_busy < self.crew.slots:
            if self.outbox.trouble:
                return
            one = self.backlog.first(live=True)
            if one is None and self._spare() and self._catch_up():
                continue
            one = one or self.backlog.first(live=False)
            if one is not None:
                try:
                    self.crew.measure(one, self._job(one))
                except OSError as error:
                    self.outbox.refuse(str(error), "no worker can be started")
                    return
                self.backlog.take(one)
            elif not (self._spare() and (self.gallery.draw_one() or self._make_overview())):
                return

    def _spare(self) -> bool:
        """Tell whether what comes after the rows leaves a worker for the frame that comes next."""
        return self._once or self.crew.slots == 1 or self._n_behind < self.crew.slots - 1

    def _catch_up(self) -> bool:
        """Start what must not wait for the whole backfill."""
        return (
            self.solutions.start_one()
            or (self.gallery.piled_up and self.gallery.draw_one())
            or self.overview.overdue()
        )

    def _make_overview(self) -> bool:
        """Have the light curves and the page made; ``--once`` does that last."""
        if self._once:
            left = len(self.backlog) + len(self.outbox) + self.gallery.n_left
            return not (left or self.exclusions.busy) and self.overview.start(hurry=True)
        # the page links the pictures that are there
        return not self.gallery.busy and self.overview.start(hurry=False)

    def _job(self, one: Candidate) -> Job:
        return Job(
            path=one.path,
            name=one.name,
            settings=self.settings,
            # a broken solution can kill the worker: the frame must not fail for it
            solution=None if one.tries else self.gate.solution(one),
            known=self.claims.known_hashes(one),
        )
