"""What a trial tries, and when it is given up, as Optuna's samplers and its pruner have it.

Each is asked of a study in memory that is made for that trial alone, so that the answer is a function of the seed, the
trial's number and the trials before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imbalance_bench.errors import BenchError, command
from imbalance_bench.options import shown
from imbalance_bench.search.space import Range, Space
from imbalance_bench.search.trials import Options, Trial, Values

if TYPE_CHECKING:
    import optuna

BEFORE_PRUNING = 5  # trials that are done before any is given up

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Sampling:
    """Of a search space; ``options``: whose sampler and seed count."""

    space: Space
    options: Options

    @cached_property
    def distributions(self) -> dict[str, Any]:
        """Optuna's, by key."""
        return {key: _distribution(values) for key, values in self.space.items()}

    def proposed(self, number: int, history: Sequence[Trial], direction: Direction) -> Values:
        """What a trial tries that is no first one, by those of the batches before it."""
        optuna = optuna_here()
        seed = int(np.random.SeedSequence([self.options.seed, number]).generate_state(1)[0])
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        study = optuna.create_study(sampler=samplers[self.options.sampler](seed=seed), direction=direction)
        told = [trial for trial in history if trial.value is not None or trial.pruned]
        study.add_trials([self.frozen(trial) for trial in told])
        params = study.ask(self.distributions).params
        return {key: self._value(key, params[key]) for key in self.space}

    def worse(self, steps: Sequence[float], before: Sequence[Trial], direction: Direction) -> bool:
        """Whether a trial with these means over its first runs is to be given up: Optuna's MedianPruner."""
        optuna = optuna_here()
        pruner = optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING)
        study = optuna.create_study(pruner=pruner, direction=direction)
        study.add_trials([self.frozen(trial) for trial in before if trial.steps])
        trial = study.ask()
        trial.report(steps[-1], len(steps))  # the last alone: over as many runs as those of the others
        return bool(trial.should_prune())

    def frozen(self, trial: Trial) -> optuna.trial.FrozenTrial:
        """A trial as Optuna has it."""
        optuna = optuna_here()
        states = optuna.trial.TrialState
        state = states.PRUNED if trial.pruned else states.FAIL if trial.value is None else states.COMPLETE
        return optuna.trial.create_trial(
            state=state,
            value=trial.value,
            intermediate_values=dict(enumerate(trial.steps, 1)),
            params={key: _param(self.space[key], value) for key, value in trial.values.items()},
            distributions={key: self.distributions[key] for key in trial.values},
            user_attrs={"id": trial.id, "reason": trial.reason},
        )

    def trial(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        """The trial that ``frozen`` made Optuna's of."""
        values = {key: self._value(key, frozen.params[key]) for key in self.space if key in frozen.params}
        attributes = frozen.user_attrs
        steps = tuple(value for _, value in sorted(frozen.intermediate_values.items()))
        return Trial(frozen.number, values, frozen.value, attributes["id"], attributes["reason"], steps)

    def _value(self, key: str, param: Any) -> Any:
        """The value of an option from Optuna's parameter."""
        allowed = self.space[key]
        if isinstance(allowed, Range):
            return allowed.rounded(param)
        return next(value for value in allowed if _choice(value) == param and type(_choice(value)) is type(param))


def _distribution(values: Range | list[Any]) -> Any:
    """Optuna's, of the values of a key."""
    d = optuna_here().distributions
    if not isinstance(values, Range):
        return d.CategoricalDistribution([_choice(value) for value in values])
    if values.whole:
        return d.IntDistribution(int(values.low), int(values.high), log=values.log)
    return d.FloatDistribution(float(values.low), float(values.high), log=values.log)


def _choice(value: Any) -> Any:
    """A value of a list as Optuna takes it: lists are none of its types."""
    return shown(value) if isinstance(value, (list, dict)) else value


def _param(allowed: Range | list[Any], value: Any) -> Any:
    return value if isinstance(allowed, Range) else _choice(value)


def optuna_here() -> Any:
    """Optuna, which says no more than warnings. Raises BenchError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise BenchError(
            f"{command('search')} needs Optuna: pip install -c constraints.txt -e '.[search]'; a grid needs nothing: "
            "train.py -m method.gamma=1,2,5, then report.py --tuned"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
