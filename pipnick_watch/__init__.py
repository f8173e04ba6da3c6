"""Live photometry of the frames of an observing night, as they land on disk.

The rooms: ``cli`` opens the door; ``watch`` sees what is new and when it is ready; ``records``
keeps what lands on disk; ``photometry`` turns a frame into numbers; ``frame`` reads a file;
``pictures`` draws; ``lightcurves`` follows the stars; ``simulate`` makes nights with known truth.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
