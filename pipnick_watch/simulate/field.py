"""Which stars a simulated field holds, and how bright they are."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from pipnick_watch.simulate.psf import Optics, star_image

__all__ = ["FieldSettings", "move_stars", "place_stars", "sky_noise"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FieldSettings:
    """A field and the detector that sees it; fluxes in electrons, lengths in pixels.

    Attributes
    ----------
    optics : Optics
        The PSF and the frame's shape.
    sky : float
        Electrons per pixel at the frame's centre.
    gradient : float
        Change of the sky from one corner to the opposite one, as a fraction of it.
    moonlight : float
        Height of a broad bump of scattered light, as a fraction of the sky.
    galaxy : float
        Central surface brightness of a galaxy, electrons per pixel; 0: none.
    n_stars, n_pairs, n_cluster, n_saturated : int
        Stars strewn evenly, planted pairs 0.8 to 2 FWHM apart, members of a cluster, and
        saturated stars.
    core_radius, tidal_radius : float
        Of the cluster (King 1962).
    faintest, brightest : float
        Range of peaks above the sky: the first in units of the sky's noise per pixel, the second
        in electrons.
    slope : float
        The number of stars brighter than a flux F falls as F^-slope.
    n_cosmics, n_hot : int
        Cosmic-ray hits and hot pixels, elsewhere in each frame.
    n_stuck : int
        Hot pixels that are the same in all frames of a detector.
    vignetting : float
        Share of the light that is lost in the corners, and that no flat corrects.
    grain : float
        Standard deviation of the pixels' sensitivities, that no flat corrects.
    detector : int
        Which detector it is: the seed of its grain and its stuck pixels.
    cosmics_masked : float
        Share of the cosmic-ray hits that MASK has.
    mask_errors : int
        Places between or on stars that MASK takes for cosmic rays.
    bad_columns : tuple of int
    read_noise : float
    saturation : float
        Where the detector clips, electrons.
    bleed : float
        Share of a saturated star's lost charge that runs along the column.
    uncert : {"upstream", "true", "none"}
        UNCERT holds the calibration frames' share alone, the whole error, or is missing.
    """

    optics: Optics = field(default_factory=Optics)
    sky: float = 300.0
    gradient: float = 0.05
    moonlight: float = 0.0
    galaxy: float = 0.0
    n_stars: int = 150
    n_pairs: int = 0
    n_cluster: int = 0
    n_saturated: int = 0
    core_radius: float = 60.0
    tidal_radius: float = 600.0
    faintest: float = 3.0
    brightest: float = 60000.0
    slope: float = 0.6
    n_cosmics: int = 0
    n_hot: int = 0
    n_stuck: int = 0
    vignetting: float = 0.0
    grain: float = 0.0
    detector: int = 0
    cosmics_masked: float = 0.8
    mask_errors: int = 0
    bad_columns: tuple[int, ...] = ()
    read_noise: float = 10.7
    saturation: float = 100000.0
    bleed: float = 0.3
    uncert: Literal["upstream", "true", "none"] = "upstream"

    @property
    def galaxy_place(self) -> tuple[float, float]:
        """Centre of the galaxy, x and y."""
        rows, columns = self.optics.shape
        return 0.35 * columns, 0.6 * rows


def sky_noise(settings: FieldSettings) -> float:
    """Give the noise of a pixel of empty sky at the frame's centre, electrons."""
    return math.hypot(math.sqrt(settings.sky), settings.read_noise)


def place_stars(settings: FieldSettings, rng: np.random.Generator) -> Table:
    """Strew the stars of a field.

    Returns
    -------
    Table
        ``x``, ``y`` (0-based pixels, a little outside the frame too), ``flux`` (all light,
        electrons) and ``pair`` (number of the planted pair from 1; 0 otherwise).
    """
    rows, columns = settings.optics.shape
    outside = 2 * settings.optics.fwhm
    inside = 6 * settings.optics.fwhm
    faintest = settings.faintest * sky_noise(settings) / _peak_share(settings.optics)
    brightest = settings.brightest / _peak_share(settings.optics)

    def strewn(count: int, margin: float) -> tuple[FloatArray, FloatArray]:
        return (
            rng.uniform(-margin, columns - 1 + margin, count),
            rng.uniform(-margin, rows - 1 + margin, count),
        )

    star_x, star_y = strewn(settings.n_stars, outside)
    star_flux = _fluxes(rng, settings.n_stars, faintest, brightest, settings.slope)

    pair_x, pair_y, pair_flux = _pairs(settings, rng, strewn(settings.n_pairs, -inside))

    distance = _king_radii(rng, settings.n_cluster, settings.core_radius, settings.tidal_radius)
    angle = rng.uniform(0, 2 * math.pi, settings.n_cluster)
    cluster_x = (columns - 1) / 2 + distance * np.cos(angle)
    cluster_y = (rows - 1) / 2 + distance * np.sin(angle)
    cluster_flux = _fluxes(rng, settings.n_cluster, faintest, brightest, settings.slope)

    full_x, full_y = strewn(settings.n_saturated, -inside)
    clipped = settings.saturation / _peak_share(settings.optics)
    full_flux = clipped * 10 ** rng.uniform(0.2, 1.2, settings.n_saturated)

    pair = np.zeros(settings.n_stars, dtype=np.int64), np.arange(settings.n_pairs) + 1
    rest = np.zeros(settings.n_cluster + settings.n_saturated, dtype=np.int64)
    return Table(
        {
            "x": np.concatenate([star_x, pair_x, cluster_x, full_x]),
            "y": np.concatenate([star_y, pair_y, cluster_y, full_y]),
            "flux": np.concatenate([star_flux, pair_flux, cluster_flux, full_flux]),
            "pair": np.concatenate([pair[0], pair[1], pair[1], rest]),
        }
    )


def move_stars(
    stars: Table,
    shape: tuple[int, int],
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    turn: float = 0.0,
    dimming: float | FloatArray = 0.0,
) -> Table:
    """Give the stars as another frame of the field shows them: drifted, turned, dimmed.

    Parameters
    ----------
    stars : Table
        As :func:`place_stars` gives them.
    shape : tuple of int
        Rows and columns; the turn is about the frame's centre and comes before the shift.
    shift : tuple of float
        Along x and y, pixels.
    turn : float
        Degrees from +x towards +y; 180 for a meridian flip.
    dimming : float or ndarray, shape (n_stars,)
        Magnitudes, for a cloud or for stars that vary.
    """
    moved = stars.copy()
    middle_y, middle_x = ((side - 1) / 2 for side in shape)
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    x, y = np.asarray(stars["x"]) - middle_x, np.asarray(stars["y"]) - middle_y
    moved["x"] = middle_x + cosine * x - sine * y + shift[0]
    moved["y"] = middle_y + sine * x + cosine * y + shift[1]
    moved["flux"] = stars["flux"] * 10 ** (-0.4 * np.asarray(dimming))
    return moved


def _peak_share(optics: Optics) -> float:
    """Give the share of a star's light that its highest pixel holds at the frame's centre."""
    row, column = (side // 2 for side in optics.shape)
    return float(star_image(optics, column, row, 1.0)[0].max())


def _fluxes(
    rng: np.random.Generator, count: int, faintest: float, brightest: float, slope: float
) -> FloatArray:
    """Draw from a power law between two fluxes."""
    share = rng.random(count)
    low, high = faintest**-slope, brightest**-slope
    return np.asarray((low + share * (high - low)) ** (-1 / slope))


def _pairs(
    settings: FieldSettings, rng: np.random.Generator, centres: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Plant pairs whose fainter star would be seen well if it were alone."""
    count = settings.n_pairs
    apart = settings.optics.fwhm * rng.uniform(0.8, 2.0, count) / 2
    angle = rng.uniform(0, 2 * math.pi, count)
    ends_x = centres[0] - apart * np.cos(angle), centres[0] + apart * np.cos(angle)
    ends_y = centres[1] - apart * np.sin(angle), centres[1] + apart * np.sin(angle)
    faint = sky_noise(settings) * 10 ** rng.uniform(1.4, 2.2, count)
    flux = faint / _peak_share(settings.optics)
    ratio = 10 ** rng.uniform(0.0, 0.5, count)
    return np.concatenate(ends_x), np.concatenate(ends_y), np.concatenate([flux * ratio, flux])


def _king_radii(
    rng: np.random.Generator, count: int, core_radius: float, tidal_radius: float
) -> FloatArray:
    """Draw distances from a cluster's centre after King (1962, AJ 67, 471, eq. 14)."""
    radius = np.linspace(0, tidal_radius, 2001)
    edge = 1 / math.sqrt(1 + (tidal_radius / core_radius) ** 2)
    density = (1 / np.sqrt(1 + (radius / core_radius) ** 2) - edge) ** 2 * radius
    within = np.cumsum(density)
    return np.interp(rng.random(count), within / within[-1], radius)
