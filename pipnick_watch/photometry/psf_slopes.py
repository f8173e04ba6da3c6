"""How does a star's light change with each parameter? The derivatives that the PSF is fitted by."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.psf import Psf, drift_basis, integration_nodes, quadratic_form
from pipnick_watch.photometry.psf_correction import (
    FREE_TERMS,
    correction_gradient,
    correction_terms,
)
from pipnick_watch.photometry.psf_parameters import OWN, Layout, width

__all__ = ["slopes"]

FloatArray = npt.NDArray[np.float64]


def slopes(
    px: FloatArray, py: FloatArray, psf: Psf, layout: Layout, own: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the light (n, m), and its derivatives by all parameters (n, 4 + local, m).

    Parameters
    ----------
    px, py : ndarray, shape (n, m)
        Coordinates of the stamps' pixels.
    own : ndarray, shape (n, 4)
        Flux, x, y and sky of each star.
    """
    flux, x, y = own[:, 0, None, None], own[:, 1], own[:, 2]
    basis = drift_basis(x, y, psf.shape)
    local = np.stack([basis @ psf.log_alpha, basis @ psf.g1, basis @ psf.g2])
    form = quadratic_form(*local)
    a, b, c = (one[:, None] for one in form)
    shapes = _shape_slopes(local) if layout.elliptical else []
    dx, dy = px - x[:, None], py - y[:, None]
    n, m = dx.shape
    out = np.zeros((n, OWN + layout.local, m))
    nodes = integration_nodes(psf.moffat_fwhm)
    beta = psf.beta
    root = np.sqrt(a * c - b * b)
    for sx, sy, node_weight in nodes:
        ux, uy = dx + sx, dy + sy
        ax, ay = a * ux + b * uy, b * ux + c * uy
        q = ax * ux + ay * uy
        inverse = 1.0 / (1.0 + q)
        bare = node_weight * (beta - 1.0) / np.pi * root * inverse**beta
        if len(nodes) == 1:
            bend = 4.0 * beta * (beta + 1.0) * (ax * ax + ay * ay) * inverse
            bare *= 1.0 + (bend - 2.0 * beta * (a + c)) * inverse / 24.0
        scale = np.sqrt(inverse * root)
        value = bare
        if layout.corrected or psf.correction.any():
            u, v = ux * scale, uy * scale
            terms = correction_terms(u, v)
            value = bare * (1.0 + (psf.correction @ terms.reshape(len(terms), -1)).reshape(n, m))
            gu, gv = correction_gradient(psf.correction, u, v)
            out[:, OWN] -= bare * (u * gu + v * gv) * inverse
            radial = (ux * gu + uy * gv) * inverse
            out[:, 1] -= bare * scale * (gu - radial * ax)
            out[:, 2] -= bare * scale * (gv - radial * ay)
        slope = 2.0 * beta * value * inverse
        out[:, 0] += value
        out[:, 1] += slope * ax
        out[:, 2] += slope * ay
        k = OWN
        out[:, k] += slope * q - 2.0 * value
        for da, db, dc in shapes:
            k += 1
            out[:, k] -= 0.5 * slope * (da * ux * ux + 2.0 * db * ux * uy + dc * uy * uy)
        out[:, k + 1] += value * (1.0 / (beta - 1.0) + np.log(inverse))
        if layout.terms:
            free = (FREE_TERMS[layout.terms] @ terms.reshape(len(terms), -1)).reshape(-1, n, m)
            free *= bare
            out[:, k + 2 :] += free.swapaxes(0, 1)
    out[:, k + 1] = -(beta**2) * out[:, k + 1] - width(beta)[1] * out[:, OWN]
    light = out[:, 0].copy()
    out[:, 1:3] *= flux
    out[:, 3] = 1.0
    out[:, OWN:] *= flux
    return light, out


def _shape_slopes(local: FloatArray) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """Differentiate the quadratic form by g1 and by g2."""
    slopes = []
    for k in (1, 2):
        up, down = local.copy(), local.copy()
        up[k] += 1e-4
        down[k] -= 1e-4
        pairs = zip(quadratic_form(*up), quadratic_form(*down), strict=True)
        da, db, dc = ((high[:, None] - low[:, None]) / 2e-4 for high, low in pairs)
        slopes.append((da, db, dc))
    return slopes
