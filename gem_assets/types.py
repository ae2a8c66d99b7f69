"""Names for what most modules take and return: arrays, and a callback that hears of progress."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Called with (done, of how many, what is done now).
Progress = Callable[[int, int, str], None]
