"""R conditional Wasserstein GANs with gradient penalty, trained as one program; the method cwgan samples from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import graph
from imbalance_bench.engine.batches import Batch, Layout, Rows
from imbalance_bench.engine.fixed import FixedPlan, Kind
from imbalance_bench.engine.losses import cross_entropy
from imbalance_bench.engine.monitor import Monitor, Step
from imbalance_bench.engine.optim import Adam
from imbalance_bench.engine.stack import Stack
from imbalance_bench.running import progress
from imbalance_bench.running.checkpoints import Loop

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine


NAMES = ("critic_loss", "distance", "penalty")


class DeepCross(nn.Module):
    """Deep & Cross network (Wang, Fu, Fu & Wang, 2017): layers ``hidden`` (leaky ReLU; LayerNorm after each but the
    first where ``norm``) beside ``crosses`` cross layers x_{l+1} = x_0 (x_l·w_l) + b_l + x_l (their Eq. 3), joined,
    through ``tail`` more units where that is not 0, to ``outputs`` linear outputs."""

    def __init__(
        self, d: int, hidden: Sequence[int], crosses: int, outputs: int, norm: bool = False, tail: int = 0
    ) -> None:
        super().__init__()
        widths = [d, *hidden]
        self.deep = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.LayerNorm(b) for b in widths[2:]) if norm else None
        self.cross = nn.ParameterList(torch.randn(d) * (2 / d) ** 0.5 for _ in range(crosses))
        self.bias = nn.ParameterList(torch.zeros(d) for _ in range(crosses))
        joined = widths[-1] + (d if crosses else 0)
        self.tail = nn.Linear(joined, tail) if tail else None
        self.head = nn.Linear(tail or joined, outputs)

    def batched(self, params: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Outputs (R, n, outputs) of R networks with parameters (R, ...) for inputs (R, n, d)."""

        def linear(name: str, h: torch.Tensor) -> torch.Tensor:
            return torch.baddbmm(params[f"{name}.bias"][:, None], h, params[f"{name}.weight"].mT)

        h = x
        for i in range(len(self.deep)):
            h = linear(f"deep.{i}", h)
            if self.norms is not None and i:
                scale, shift = params[f"norms.{i - 1}.weight"], params[f"norms.{i - 1}.bias"]
                h = torch.addcmul(shift[:, None], F.layer_norm(h, h.shape[-1:]), scale[:, None])
            h = F.leaky_relu(h)
        crossed = x
        for i in range(len(self.cross)):
            along = torch.bmm(crossed, params[f"cross.{i}"][:, :, None])
            crossed = torch.addcmul(crossed + params[f"bias.{i}"][:, None], x, along)
        if len(self.cross):
            h = torch.cat([h, crossed], -1)
        if self.tail is not None:
            h = F.leaky_relu(linear("tail", h))
        return linear("head", h)


def conditions(labels: torch.Tensor, classes: int, dtype: torch.dtype) -> torch.Tensor:
    """Class conditions of the networks: labels (...) → (..., 1), -1 or 1, for two classes; for more (..., C), 1 in
    the column of the class and -1 elsewhere."""
    ones = labels[..., None] if classes == 2 else F.one_hot(labels, classes)
    return (2 * ones - 1).to(dtype)


def gradient_penalty(
    critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, fake: torch.Tensor, mix: torch.Tensor
) -> torch.Tensor:
    """(‖∇_x̂ D(x̂)‖₂ - 1)² of each sample, (R, B), at x̂ = ε·real + (1-ε)·fake (Gulrajani et al., 2017, Eq. 3 and
    Algorithm 1), differentiable in the critic's parameters. ``critic`` takes (R, B, d) and gives (R, B, 1); ε = ``mix``
    (R, B, 1)."""
    between = torch.lerp(fake, real, mix).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    # The root's derivative is infinite at 0, hence the small addend.
    return ((gradient.square().sum(-1) + 1e-12).sqrt() - 1).square()


@dataclass(frozen=True)
class GANOptions:
    """The options of the method that its networks and their training take; ``CWGAN`` says what they mean."""

    epochs: int
    batch_size: int
    critic_steps: int
    lr: float
    betas: tuple[float, ...]
    penalty_weight: float
    noise_dim: int
    generator_hidden: tuple[int, ...]
    generator_cross: int
    generator_tail: int
    critic_hidden: tuple[int, ...]
    critic_cross: int
    input_noise: float
    ac_weight: float
    ac_floor: float
    ac_epochs: int
    ac_lr: float
    ac_hidden: tuple[int, ...]
    ac_cross: int


class GANs:
    """One conditional WGAN-GP a run, with ``options``.

    ``parts``: the rows of each run, features (n, d) scaled to [0, 1]. Every run draws its batches and its noise from a
    generator of its own, so that its result does not depend on the runs trained beside it; a generator of the device,
    so that a step need not wait for noise: a GPU's numbers are other ones than a CPU's. ``monitor`` holds the history
    (critic_loss, distance = estimated Wasserstein distance, penalty) and the failures of the runs.
    """

    def __init__(self, options: GANOptions, tasks: Sequence[Task], parts: Sequence[Part], engine: Engine) -> None:
        o = self.options = options
        self.classes = tasks[0].classes
        self.d = parts[0].x.shape[1]
        condition = 1 if self.classes == 2 else self.classes
        # Streams of numbers of their own, and other ones than those of the classifier that is trained later.
        seeds = np.array(
            [np.random.SeedSequence([t.seed, 0]).generate_state(4, np.uint64) >> np.uint64(1) for t in tasks]
        ).T.tolist()

        def create(row: int, *args: object, **kwargs: object) -> Stack:
            return Stack.create(
                lambda: DeepCross(*args, **kwargs),  # type: ignore[arg-type]
                seeds[row],
                engine.device,
                engine.dtype,
            )

        self.generator = create(
            0, o.noise_dim + condition, o.generator_hidden, o.generator_cross, self.d, tail=o.generator_tail
        )
        self.critic = create(1, self.d + condition, o.critic_hidden, o.critic_cross, 1, norm=True)
        self.auxiliary = create(2, self.d, o.ac_hidden, o.ac_cross, self.classes, norm=True) if o.ac_weight else None
        self.generators = [torch.Generator(engine.device).manual_seed(s) for s in seeds[3]]
        self.rows = Rows(parts, engine.device, engine.dtype)
        self.monitor, self.graph = Monitor(self.critic, tasks), engine.trainer.graph
        runs = len(tasks)
        self._uniform = self.critic.flat.new_zeros(runs, o.batch_size, o.noise_dim + 1)
        self._normal = self.critic.flat.new_zeros(runs, 3, o.batch_size, self.d)

    def train(self) -> None:
        """All epochs of all runs."""
        if self.auxiliary is not None:
            self._train_auxiliary(self.auxiliary)
        critic_optimiser = Adam(self.critic, self.options.lr, self.options.betas)
        generator_optimiser = Adam(self.generator, self.options.lr, self.options.betas)
        fixed: FixedGANs | None = None
        keeps = self.critic, self.generator, critic_optimiser, generator_optimiser, self.generators, self.monitor
        for epoch in Loop("GAN", self.options.epochs, *keeps):
            alive, steps = self.monitor.alive, list[Step]()
            if not alive:
                continue
            layout = self._layout()
            if fixed is None and graph.wanted(self.graph, self.rows.x.device, self.options.epochs * len(layout.rows)):
                fixed = FixedGANs(self, critic_optimiser, generator_optimiser, layout)
            if fixed is not None:
                steps = fixed.run(layout, alive)
            for s, batch in enumerate(() if fixed else self.rows.laid_out(layout)):
                self.draw(batch.active, 3)
                steps.append((batch.active, self.critic_gradient(batch)))
                critic_optimiser.step(batch.among(alive))
                if s % self.options.critic_steps == 0:
                    self.draw(batch.active, 1)
                    self.generator_gradient(batch)
                    generator_optimiser.step(batch.among(alive))
            self.monitor.end_epoch("GAN", epoch, steps)
            watched = self.monitor
            progress.report("GAN", epoch + 1, self.options.epochs, numbers=watched.latest, runs=watched.of_runs)

    def sample(self, run: int, label: int, n: int) -> np.ndarray:
        """``n`` made rows of class ``label``, (n, d), from the generator of a run."""
        like = self.generator.flat
        noise = torch.rand(n, self.options.noise_dim, generator=self.generators[run], device=like.device).to(like)
        labels = torch.full((n,), label, device=noise.device)
        inputs = torch.cat([noise, conditions(labels, self.classes, noise.dtype)], -1)
        return self.generator.predict(self.generator.flat[run].detach(), inputs).cpu().numpy()

    def _layout(self) -> Layout:
        """The batches of an epoch, ``shuffled`` where the generators are."""
        size, plans = self.options.batch_size, []
        for labels, generator in zip(self.rows.labels, self.generators):
            order = torch.randperm(len(labels), generator=generator, device=self.rows.x.device).cpu()
            plans.append(F.pad(order, (0, -len(order) % size), value=-1).view(-1, size))
        return self.rows.layout(plans)

    def _train_auxiliary(self, auxiliary: Stack) -> None:
        """The auxiliary classifier learns the real rows first and is fixed then."""
        optimiser = Adam(auxiliary, self.options.ac_lr, self.options.betas)
        for _ in Loop("auxiliary classifier", self.options.ac_epochs, auxiliary, optimiser, self.generators):
            for batch in self.rows.laid_out(self._layout()):
                auxiliary.backward(batch.mean(cross_entropy(auxiliary(batch.x), batch.y)).sum())
                optimiser.step(batch.active)

    def draw(self, active: Sequence[int] | None, normals: int) -> None:
        """Draws for a step of the runs ``active`` (None: all), which have rows in it. Whole batches are drawn even
        where the batch of a run is short."""
        for r in range(len(self.generators)) if active is None else active:
            self._uniform[r].uniform_(generator=self.generators[r])
            self._normal[r, :normals].normal_(0, self.options.input_noise, generator=self.generators[r])

    def _drawn(self, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The draws for ``width`` rows: the generator's noise (R, B, noise_dim), ε (R, B, 1), and the noise on the
        critic's inputs, (R, 3, B, d)."""
        uniform = self._uniform[:, :width]
        return uniform[..., 1:], uniform[..., :1], self._normal[:, :, :width]

    def critic_gradient(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Into ``critic.grad``: ∇ of D(fake) - D(real) + weight · penalty, each a mean over the batch of a run; and
        these numbers (R,)."""
        noise, mix, normal = self._drawn(batch.x.shape[1])
        condition = conditions(batch.y, self.classes, batch.x.dtype)
        with torch.no_grad():
            fake = self.generator(torch.cat([noise, condition], -1))
        inputs = torch.cat([torch.cat([batch.x, fake], 1) + normal[:, :2].flatten(1, 2), condition.repeat(1, 2, 1)], -1)
        of_real, of_fake = self.critic(inputs).squeeze(-1).chunk(2, 1)
        distance = batch.mean(of_real) - batch.mean(of_fake)
        penalty = batch.mean(
            gradient_penalty(lambda x: self.critic(torch.cat([x + normal[:, 2], condition], -1)), batch.x, fake, mix)
        )
        loss = self.options.penalty_weight * penalty - distance
        self.critic.backward(loss.sum())
        return dict(zip(NAMES, (loss.detach(), distance.detach(), penalty.detach())))

    def generator_gradient(self, batch: Batch) -> None:
        """Into ``generator.grad``: ∇ of g + weight · |g| · AC, with g = -D(fake) and |g| taken as a constant."""
        noise, _, normal = self._drawn(batch.x.shape[1])
        condition = conditions(batch.y, self.classes, batch.x.dtype)
        fake = self.generator(torch.cat([noise, condition], -1))
        loss = -batch.mean(self.critic(torch.cat([fake + normal[:, 0], condition], -1)).squeeze(-1))
        if self.auxiliary is not None:
            ac = batch.mean(cross_entropy(self.auxiliary(fake), batch.y).clamp(min=self.options.ac_floor))
            loss = loss + self.options.ac_weight * loss.detach().abs() * ac
        self.generator.backward(loss.sum())


class FixedGANs:
    """Steps of GANs that read all from buffers which stay where they are, for ``graph.Replayed``: one of the critic,
    one of the generator. Noise is drawn into its buffers before each of them. ``layout``: of an epoch; the next ones
    have as many batches, of as many rows."""

    def __init__(self, gans: GANs, critic: Adam, generator: Adam, layout: Layout) -> None:
        self.gans, self.optimisers, self.every = gans, (critic, generator), gans.options.critic_steps
        device, (steps, runs, width) = gans.rows.x.device, layout.rows.shape
        self.plan, self.kind = FixedPlan(gans.rows, layout), Kind(width, full=False, tokens=None)
        self.losses = gans.critic.flat.new_zeros(steps, len(NAMES), runs)
        # Steps that each of the two has taken in an epoch.
        self.taken = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(2)]
        self.tables: list[torch.Tensor] = []
        pool = torch.cuda.graph_pool_handle() if graph.capturable(device) else None
        self.steps = [
            graph.Replayed(step, device, pool, required=gans.graph is True)
            for step in (self._critic_step, self._generator_step)
        ]

    def run(self, layout: Layout, alive: Sequence[int]) -> list[Step]:
        """An epoch, in which only runs that are ``alive`` move."""
        device = self.losses.device
        self.plan.put(layout)
        living = torch.zeros(layout.sizes.shape[1], dtype=torch.bool)
        living[list(alive)] = True
        present = ((layout.sizes > 0) & living).to(device)
        tables = []
        for optimiser, rows in zip(self.optimisers, (present, present[:: self.every])):
            rates = torch.tensor(optimiser.rates, dtype=torch.float64, device=device)
            tables.append(optimiser.plan(rates.expand(rows.shape), rows))
        self.tables = self.tables or tables
        for table, new in zip(self.tables, tables):
            table.copy_(new)
        for taken in self.taken:
            taken.zero_()
        active = layout.active
        critic, generator = self.steps
        for s, runs in enumerate(active):
            self.gans.draw(runs, 3)
            critic.run()
            if s % self.every == 0:
                self.gans.draw(runs, 1)
                generator.run()
        return [(runs, dict(zip(NAMES, losses))) for runs, losses in zip(active, self.losses)]

    def _critic_step(self) -> None:
        (step, _), (optimiser, _) = self.taken, self.optimisers
        losses = self.gans.critic_gradient(self.plan.batch(step, self.kind)[0])
        optimiser.move(self.tables[0].index_select(0, step).squeeze(0))
        self.losses.index_copy_(0, step, torch.stack([losses[name] for name in NAMES])[None])
        step.add_(1)

    def _generator_step(self) -> None:
        (_, step), (_, optimiser) = self.taken, self.optimisers
        self.gans.generator_gradient(self.plan.batch(step * self.every, self.kind)[0])
        optimiser.move(self.tables[1].index_select(0, step).squeeze(0))
        step.add_(1)
