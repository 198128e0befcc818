"""The fake samples that device and host make alike; `firmware/include/te_random.h` is the other."""

import numpy as np

from tinyengine.ir.tensor import Array
from tinyengine.ops.fixed import mix32

_LABEL_KEY = 0xA5A5A5A5


def fake_sample(seed: int, index: int, count: int, classes: int) -> tuple[Array, int]:
    """Return `count` bytes (count,) uint8 and a label of fake sample `index` under `seed`."""
    key = int(mix32((int(mix32(seed & 0xFFFFFFFF)) + index) & 0xFFFFFFFF))
    bits = mix32(np.arange(count, dtype=np.uint64) + np.uint64(key))
    label = int(mix32(key ^ _LABEL_KEY)) % classes if classes else 0
    return (bits >> np.uint32(24)).astype(np.uint8), label
