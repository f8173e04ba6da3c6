"""The table of flags."""

import pytest
from photutils.psf.flags import PSF_FLAGS

from pipnick_watch.photometry.flags import FLAGS, Flag, describe


def test_photutils_bits_are_unchanged() -> None:
    """Every flag of photutils has the same name and bit here; ours begin at 2^16."""
    theirs = {one.bit_value: one.name.upper() for one in PSF_FLAGS.FLAG_DEFINITIONS}
    ours = {one.bit: one.name for one in FLAGS}
    assert theirs == {bit: name for bit, name in ours.items() if bit < 1 << 16}
    assert all(one.meaning for one in FLAGS)


def test_flags_are_named() -> None:
    """A number is taken apart into names; a bit that no flag has is an error."""
    assert describe(0) == []
    assert describe(int(Flag.SATURATED | Flag.NEAR_EDGE)) == ["SATURATED", "NEAR_EDGE"]
    with pytest.raises(ValueError, match="no flag has"):
        describe(1 << 40)
