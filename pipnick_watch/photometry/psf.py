"""What does one star look like at a place of the frame? A Moffat, corrected, drifting over it."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.drift import DRIFT_TERMS, drift_basis, quadratic_form
from pipnick_watch.photometry.psf_correction import TERMS, correction_gradient, correction_value
from pipnick_watch.photometry.stamps import pieces

__all__ = ["INTEGRATE_BELOW", "USUAL_BETA", "Psf", "fallback_psf", "integration_nodes"]

FloatArray = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

INTEGRATE_BELOW = 2.5  # pixels of FWHM
USUAL_BETA = 3.0
AT_ONCE = 1 << 16  # bytes of each array: a few dozen of them stay in the cache


@dataclass(frozen=True, kw_only=True, eq=False)
class Psf:
    """The frame's PSF.

    A Moffat times 1 + a polynomial in ``(dx, dy) / sqrt(alpha² + r²)``: the plane mapped into
    the unit disk, where what the Moffat leaves of coma and tracking errors is smooth.

    Attributes
    ----------
    log_alpha : ndarray, shape (6,)
        Logarithm of the Moffat's radius (geometric mean of its axes, pixels): coefficients of
        :func:`drift_basis`.
    beta : float
        The Moffat's exponent.
    g1, g2 : ndarray, shape (6,)
        Shape: half the logarithm of the axes' ratio is ``hypot(g1, g2)``, along
        ``atan2(g2, g1) / 2``. All zero for a circular one.
    shape : tuple of int
        (ny, nx) of the frame.
    correction : ndarray, shape (11,)
        Coefficients of ``TERMS``.
    n_stars : int
        Stars it was made from; 0 for a fallback.
    mismatch : float
        What it cannot describe, as a fraction of the flux.
    """

    log_alpha: FloatArray
    beta: float
    g1: FloatArray
    g2: FloatArray
    shape: tuple[int, int]
    correction: FloatArray
    n_stars: int = 0
    mismatch: float = 0.0

    @cached_property
    def alpha(self) -> float:
        """Radius of the Moffat at the frame's centre, pixels."""
        return float(np.exp(self.log_alpha[0]))

    @cached_property
    def moffat_fwhm(self) -> float:
        """FWHM of the uncorrected Moffat at the frame's centre, pixels."""
        return float(2.0 * self.alpha * np.sqrt(2.0 ** (1.0 / self.beta) - 1.0))

    @cached_property
    def _contour(self) -> tuple[FloatArray, FloatArray]:
        """Angles, and the radii at which the light at the frame's centre falls to one half."""
        r = np.linspace(0.0, 2.0 * self.moffat_fwhm, 401)
        angle = np.arange(32) * (np.pi / 16.0)
        ux, uy = r[None, :] * np.cos(angle)[:, None], r[None, :] * np.sin(angle)[:, None]
        a, b, c = self.form(*self.centre)
        light = np.empty_like(ux)
        self._light(ux, uy, [a[:, None], b[:, None], c[:, None]], light[None])
        below = light < 0.5 * light.max()
        first = np.where(below.any(axis=1), below.argmax(axis=1), len(r) - 1)
        row = np.arange(len(angle))
        upper, lower = light[row, first - 1], light[row, first]
        part = ((upper - 0.5 * light.max()) / np.maximum(upper - lower, 1e-300)).clip(0.0, 1.0)
        return np.asarray(angle), np.asarray((first - 1 + part) * r[1])

    @cached_property
    def _axes(self) -> tuple[float, float]:
        """Ratio of the half-maximum contour's axes, and the angle of the major one."""
        angle, edge = self._contour
        # second moments of the area inside
        weight = edge**4
        xx, yy = (weight * np.cos(angle) ** 2).sum(), (weight * np.sin(angle) ** 2).sum()
        xy = (weight * np.cos(angle) * np.sin(angle)).sum()
        mean, half = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
        ratio = float(np.sqrt((mean - half) / (mean + half)))
        return ratio, float(0.5 * np.arctan2(2.0 * xy, xx - yy))

    @cached_property
    def elliptical(self) -> bool:
        """Whether the Moffat has two axes."""
        return bool(self.g1.any() or self.g2.any())

    @cached_property
    def corrected(self) -> bool:
        """Whether it is more than a Moffat."""
        return bool(self.correction.any())

    @cached_property
    def fwhm(self) -> float:
        """Diameter of the circle with the area inside the half-maximum contour, pixels."""
        return float(2.0 * np.sqrt(np.mean(self._contour[1] ** 2)))

    @property
    def centre(self) -> tuple[FloatArray, FloatArray]:
        """The frame's centre, x and y, each of shape (1,)."""
        return np.array([(self.shape[1] - 1) / 2.0]), np.array([(self.shape[0] - 1) / 2.0])

    @property
    def ellipticity(self) -> float:
        """1 - minor / major axis at the frame's centre; 0 when the Moffat has one axis."""
        return 1.0 - self._axes[0] if self.elliptical else 0.0

    @property
    def pa(self) -> float:
        """Angle of the major axis at the centre, degrees, 0 along +x towards +y, in [0, 180)."""
        return float(np.degrees(self._axes[1]) % 180.0) if self.elliptical else 0.0

    @property
    def integrated(self) -> bool:
        """Whether it is integrated over each pixel by quadrature."""
        return self.moffat_fwhm < INTEGRATE_BELOW

    @cached_property
    def _nodes(self) -> list[tuple[float, float, float]]:
        return integration_nodes(self.moffat_fwhm)

    def form(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Quadratic form (a, b, c) of the Moffat at the places x, y: shapes (n,)."""
        basis = drift_basis(x, y, self.shape)
        if self.elliptical:
            return quadratic_form(basis @ self.log_alpha, basis @ self.g1, basis @ self.g2)
        scale = np.exp(-2.0 * (basis @ self.log_alpha))
        return scale, np.zeros_like(scale), scale

    def evaluate(self, dx: Floats, dy: Floats, x: FloatArray, y: FloatArray) -> Floats:
        """Light per pixel at the offsets dx, dy (n, m) from stars at x, y (n,), shape (n, m).

        Computed in the offsets' precision, single or double.
        """
        return np.asarray(self._integrate(dx, dy, x, y, parts=1)[0])

    def evaluate_with_gradient(
        self, dx: Floats, dy: Floats, x: FloatArray, y: FloatArray
    ) -> Floats:
        """Return the light and its derivatives by the star's x and y, shape (3, n, m)."""
        return self._integrate(dx, dy, x, y, parts=3)

    def peak(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Light in the pixel that a star at x, y is centred on, shape (n,)."""
        zero = np.zeros((len(x), 1))
        return np.asarray(self.evaluate(zero, zero, x, y)[:, 0], dtype=np.float64)

    def _integrate(
        self, dx: Floats, dy: Floats, x: FloatArray, y: FloatArray, *, parts: int
    ) -> Floats:
        """Average over the pixels: by nodes when the PSF is narrow, else to second order.

        Returns
        -------
        ndarray, shape (parts, n, m)
        """
        out = np.empty((parts, *dx.shape), dtype=np.result_type(dx, np.float32))
        form = [one[:, None].astype(out.dtype, copy=False) for one in self.form(x, y)]
        nodes = np.array(self._nodes, dtype=out.dtype)
        step = AT_ONCE // (len(nodes) * out.itemsize)
        for piece in pieces(len(dx), dx.shape[1], step):
            ux, uy, here, some = dx[piece], dy[piece], out[:, piece], [one[piece] for one in form]
            if len(nodes) == 1:
                self._light(ux, uy, some, here, curved=True)
                continue
            ux, uy = (
                (side[:, :, None] + shift).reshape(len(side), -1)
                for side, shift in ((ux, nodes[:, 0]), (uy, nodes[:, 1]))
            )
            parted = np.empty((parts, *ux.shape), dtype=out.dtype)
            self._light(ux, uy, some, parted)
            here[:] = parted.reshape(*here.shape, len(nodes)) @ nodes[:, 2]
        return out

    def _light(
        self, ux: Floats, uy: Floats, form: list[Floats], out: Floats, *, curved: bool = False
    ) -> None:
        """Evaluate at points, into ``out``: the light and, where there is room, its derivatives.

        ``curved`` adds what the profile's curvature does within a pixel.
        """
        beta, (a, b, c) = self.beta, form
        corrected = self.corrected
        ax, ay = a * ux, c * uy
        if self.elliptical:
            ax += b * uy
            ay += b * ux
        root = np.sqrt(a * c - b * b)
        # 1 + q, and from it the Moffat; a power is slower than a logarithm and an exponential
        inverse = ax * ux
        value = ay * uy
        inverse += value
        inverse += 1.0
        np.log(inverse, out=value)
        np.reciprocal(inverse, out=inverse)
        value *= -beta
        np.exp(value, out=value)
        value *= (beta - 1.0) / np.pi * root
        bare = out[0]
        if curved:
            # mean over a pixel = value + Laplacian / 24
            first, second = beta / 12.0 * (a + c), beta * (beta + 1.0) / 6.0
            if self.elliptical:
                bend = ax * ax
                bend += ay * ay
                bend *= second
                bend *= inverse
            else:
                # q = 1 / inverse - 1
                bend = inverse * (-second * a)
                bend += second * a
            bend -= first
            bend *= inverse
            bend += 1.0
            np.multiply(value, bend, out=bare)
        else:
            bare[:] = value
        if corrected:
            scale = np.sqrt(inverse)
            scale *= np.sqrt(root)
            u, v = ux * scale, uy * scale
            factor = correction_value(self.correction, u, v)
            factor += 1.0
            bare *= factor
        if len(out) == 1:
            return
        slope = bare * (2.0 * beta)
        if corrected:
            gu, gv = correction_gradient(self.correction, u, v)
            u *= gu
            v *= gv
            u += v
            u *= value
            slope += u
            value *= scale
            gu *= value
            gv *= value
        slope *= inverse
        np.multiply(slope, ax, out=out[1])
        np.multiply(slope, ay, out=out[2])
        if corrected:
            out[1] -= gu
            out[2] -= gv


def fallback_psf(fwhm: float, shape: tuple[int, int]) -> Psf:
    """Make a circular Moffat of a usual exponent, for frames whose stars do not show theirs."""
    zero = np.zeros(DRIFT_TERMS)
    log_alpha = zero.copy()
    log_alpha[0] = np.log(fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / USUAL_BETA) - 1.0)))
    return Psf(
        log_alpha=log_alpha, beta=USUAL_BETA, g1=zero, g2=zero, shape=shape,
        correction=np.zeros(len(TERMS)), mismatch=0.05,
    )  # fmt: skip


@cache
def integration_nodes(fwhm: float) -> list[tuple[float, float, float]]:
    """Offsets and weights, within a pixel, over which a PSF of this FWHM is to be averaged."""
    if fwhm >= INTEGRATE_BELOW:
        return [(0.0, 0.0, 1.0)]
    node, weight = np.polynomial.legendre.leggauss(3 if fwhm > 1.7 else 5)
    return [
        (float(node[i]) / 2.0, float(node[j]) / 2.0, float(weight[i] * weight[j]) / 4.0)
        for i in range(len(node))
        for j in range(len(node))
    ]
