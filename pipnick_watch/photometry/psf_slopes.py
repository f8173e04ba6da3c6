"""How does a star's light change with each parameter? The derivatives that the PSF is fitted by."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.drift import drift_basis, quadratic_form
from pipnick_watch.photometry.psf import Psf, integration_nodes
from pipnick_watch.photometry.psf_correction import (
    FREE_TERMS,
    correction_gradient,
    correction_terms,
    correction_value,
)
from pipnick_watch.photometry.psf_parameters import OWN, Layout, width

__all__ = ["slopes"]

FloatArray = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]


def slopes(
    px: FloatArray, py: FloatArray, psf: Psf, layout: Layout, own: FloatArray
) -> tuple[Single, Single]:
    """Return the light (n, m), and its derivatives by all parameters (n, 4 + local, m).

    In single precision: what it is subtracted from is noisier than that.

    Parameters
    ----------
    px, py : ndarray, shape (n, m)
        Coordinates of the stamps' pixels.
    own : ndarray, shape (n, 4)
        Flux, x, y and sky of each star.
    """
    flux, x, y = own[:, 0, None].astype(np.float32), own[:, 1], own[:, 2]
    basis = drift_basis(x, y, psf.shape)
    local = np.stack([basis @ psf.log_alpha, basis @ psf.g1, basis @ psf.g2])
    form = quadratic_form(*local)
    a, b, c = (one[:, None].astype(np.float32) for one in form)
    shapes = _shape_slopes(local) if layout.elliptical else []
    dx, dy = (px - x[:, None]).astype(np.float32), (py - y[:, None]).astype(np.float32)
    out = np.zeros((len(x), OWN + layout.local, dx.shape[1]), dtype=np.float32)
    beta, root = psf.beta, np.sqrt(a * c - b * b)
    nodes = integration_nodes(psf.moffat_fwhm)
    exponent = OWN + layout.fields
    for sx, sy, node_weight in nodes:
        ux, uy = dx + sx, dy + sy
        ax, ay = a * ux, c * uy
        if psf.elliptical:
            ax += b * uy
            ay += b * ux
        q = ax * ux
        q += ay * uy
        inverse = q + 1.0
        log = np.log(inverse)
        np.reciprocal(inverse, out=inverse)
        bare = log * -beta
        np.exp(bare, out=bare)
        bare *= node_weight * (beta - 1.0) / np.pi * root
        if len(nodes) == 1:
            # mean over a pixel = value + Laplacian / 24
            bend = ax * ax
            bend += ay * ay
            bend *= inverse
            bend *= beta * (beta + 1.0) / 6.0
            bend -= beta / 12.0 * (a + c)
            bend *= inverse
            bend += 1.0
            bare *= bend
        value = bare
        if layout.corrected or psf.corrected:
            scale = np.sqrt(inverse)
            scale *= np.sqrt(root)
            u, v = ux * scale, uy * scale
            value = correction_value(psf.correction, u, v)
            value += 1.0
            value *= bare
            gu, gv = correction_gradient(psf.correction, u, v)
            radial = u * gu
            radial += v * gv
            radial *= inverse
            radial *= bare
            out[:, OWN] -= radial
            scale *= bare
            gu *= scale
            gv *= scale
            out[:, 1] += radial * ax - gu
            out[:, 2] += radial * ay - gv
        slope = value * inverse
        slope *= 2.0 * beta
        out[:, 0] += value
        out[:, 1] += slope * ax
        out[:, 2] += slope * ay
        out[:, OWN] += slope * q - 2.0 * value
        for k, (da, db, dc) in enumerate(shapes, start=OWN + 1):
            out[:, k] -= 0.5 * slope * (da * ux * ux + 2.0 * db * ux * uy + dc * uy * uy)
        out[:, exponent] += value * (1.0 / (beta - 1.0) - log)
        if layout.terms:
            free = np.tensordot(
                FREE_TERMS[layout.terms].astype(np.float32), correction_terms(u, v), axes=1
            )
            free *= bare
            out[:, exponent + 1 :] += free.swapaxes(0, 1)
    out[:, exponent] *= -(beta**2)
    out[:, exponent] -= width(beta)[1] * out[:, OWN]
    light = out[:, 0].copy()
    out[:, 1:3] *= flux[:, None]
    out[:, 3] = 1.0
    out[:, OWN:] *= flux[:, None]
    return light, out


def _shape_slopes(local: FloatArray) -> list[tuple[Single, ...]]:
    """Differentiate the quadratic form by g1 and by g2."""
    slopes = []
    for k in (1, 2):
        up, down = local.copy(), local.copy()
        up[k] += 1e-4
        down[k] -= 1e-4
        pairs = zip(quadratic_form(*up), quadratic_form(*down), strict=True)
        slopes.append(
            tuple(((high - low)[:, None] / 2e-4).astype(np.float32) for high, low in pairs)
        )
    return slopes
