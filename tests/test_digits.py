"""The bytes of many numbers are those that Python writes one by one."""

import numpy as np
import pytest

from pipnick_watch.lightcurves.digits import fixed_point, joined, texts

ODD = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 0.5, 1.5, 2.5, -0.5, 1e300, -1e300, 1e-300,
       0.0005, 0.00005, 999.9996, 9.99999999, -1e-6, -0.0004, 2.0**53, 1.005, 2.675]  # fmt: skip


@pytest.mark.parametrize("decimals", [0, 1, 3, 5, 7])
def test_numbers_are_written_as_python_writes_them(decimals: int) -> None:
    """All sizes and signs, ties and what is close to one, and what is no number."""
    rng = np.random.default_rng(decimals)
    wide = rng.normal(size=3000) * 10.0 ** rng.integers(-8, 9, 3000)
    ties = (rng.integers(-20_000, 20_000, 3000) + 0.5) / 10.0**decimals
    near = np.nextafter(ties, rng.choice([-np.inf, np.inf], len(ties)))
    for values in (wide, ties, near, np.array(ODD), np.full(3, np.nan), np.empty(0)):
        text = (
            joined([fixed_point(values, decimals), texts([b"\n"])]).decode() if len(values) else ""
        )
        assert text.splitlines() == [f"{one:.{decimals}f}" for one in values.tolist()]


def test_columns_become_lines() -> None:
    """Columns of any width stand side by side; one that is the same everywhere is given once."""
    numbers = fixed_point(np.array([7.0, -12.25]), 1)
    parts = [texts([b"a", "naïve.fits".encode()]), texts([b","]), numbers, texts([b"\n"])]
    assert joined(parts).decode() == "a,7.0\nnaïve.fits,-12.2\n"
