"""Seeds of independent random streams.

torch's CPU generator looks at the low 32 bits of a seed only: adding a large number to one changes nothing.
"""

from __future__ import annotations

import numpy as np

# What draws for itself, beside a run's shuffling and initialisation, which take the run's own seed.
POST_TRAINING, ONE_AGAINST_REST, AUGMENTATION, OBJECTIVE = 1, 2, 3, 4
SECOND_STAGE, META, SELECTION_START, SELECTION_BATCHES = 5, 6, 7, 8


def derived(seed: int, *stream: int) -> int:
    """A 32-bit seed of its own: that of a ``stream`` of a run (one of the names above, and what tells several such
    apart), of a fold or of a trial."""
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0])
