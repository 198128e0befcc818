"""Percentiles of times, the same for every workload."""

from collections.abc import Sequence

import numpy as np


def percentiles(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Return p50, p90 and p99, interpolated linearly; None each without values."""
    if not values:
        return None, None, None
    p50, p90, p99 = (float(v) for v in np.percentile(np.asarray(values), (50, 90, 99)))
    return p50, p90, p99
