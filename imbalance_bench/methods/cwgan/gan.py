"""R conditional Wasserstein GANs with gradient penalty, trained as one program; the method cwgan samples from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench import progress
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.batches import Batch, Rows
from imbalance_bench.engine.losses import cross_entropy
from imbalance_bench.engine.monitor import Monitor
from imbalance_bench.engine.optim import Adam
from imbalance_bench.engine.stack import Stack

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine


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
        self.monitor = Monitor(self.critic, tasks)
        runs = len(tasks)
        self._uniform = self.critic.flat.new_zeros(runs, o.batch_size, o.noise_dim + 1)
        self._normal = self.critic.flat.new_zeros(runs, 3, o.batch_size, self.d)

    def train(self) -> None:
        """All epochs of all runs."""
        if self.auxiliary is not None:
            self._train_auxiliary(self.auxiliary)
        critic_optimiser = Adam(self.critic, self.options.lr, self.options.betas)
        generator_optimiser = Adam(self.generator, self.options.lr, self.options.betas)
        for epoch in range(self.options.epochs):
            alive, steps = self.monitor.alive, []
            if not alive:
                break
            for s, batch in enumerate(self._epoch()):
                steps.append((batch.active, self._critic_gradient(batch)))
                critic_optimiser.step(batch.among(alive))
                if s % self.options.critic_steps == 0:
                    self._generator_gradient(batch)
                    generator_optimiser.step(batch.among(alive))
            self.monitor.end_epoch("GAN", epoch, steps)
            progress.report("GAN", epoch + 1, self.options.epochs, numbers=self.monitor.latest())

    def sample(self, run: int, label: int, n: int) -> np.ndarray:
        """``n`` made rows of class ``label``, (n, d), from the generator of a run."""
        like = self.generator.flat
        noise = torch.rand(n, self.options.noise_dim, generator=self.generators[run], device=like.device).to(like)
        labels = torch.full((n,), label, device=noise.device)
        inputs = torch.cat([noise, conditions(labels, self.classes, noise.dtype)], -1)
        return self.generator.predict(self.generator.flat[run].detach(), inputs).cpu().numpy()

    def _epoch(self) -> Iterator[Batch]:
        """The batches of an epoch, ``shuffled`` where the generators are."""
        size, plans = self.options.batch_size, []
        for labels, generator in zip(self.rows.labels, self.generators):
            order = torch.randperm(len(labels), generator=generator, device=self.rows.x.device).cpu()
            plans.append(F.pad(order, (0, -len(order) % size), value=-1).view(-1, size))
        return self.rows.batches(plans)

    def _train_auxiliary(self, auxiliary: Stack) -> None:
        """The auxiliary classifier learns the real rows first and is fixed then."""
        optimiser = Adam(auxiliary, self.options.ac_lr, self.options.betas)
        for _ in range(self.options.ac_epochs):
            for batch in self._epoch():
                auxiliary.backward(batch.mean(cross_entropy(auxiliary(batch.x), batch.y)).sum())
                optimiser.step(batch.active)

    def _draw(self, batch: Batch, normals: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """For the runs in a batch: the generator's noise (R, B, noise_dim), ε (R, B, 1), and the noise on the critic's
        inputs, (R, normals, B, d). Whole batches are drawn even where the batch of a run is short."""
        for r in range(len(self.generators)) if batch.active is None else batch.active:
            self._uniform[r].uniform_(generator=self.generators[r])
            self._normal[r, :normals].normal_(0, self.options.input_noise, generator=self.generators[r])
        width = batch.x.shape[1]
        uniform = self._uniform[:, :width]
        return uniform[..., 1:], uniform[..., :1], self._normal[:, :normals, :width]

    def _critic_gradient(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Into ``critic.grad``: ∇ of D(fake) - D(real) + weight · penalty, each a mean over the batch of a run."""
        noise, mix, normal = self._draw(batch, 3)
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
        return {"critic_loss": loss.detach(), "distance": distance.detach(), "penalty": penalty.detach()}

    def _generator_gradient(self, batch: Batch) -> None:
        """Into ``generator.grad``: ∇ of g + weight · |g| · AC, with g = -D(fake) and |g| taken as a constant."""
        noise, _, normal = self._draw(batch, 1)
        condition = conditions(batch.y, self.classes, batch.x.dtype)
        fake = self.generator(torch.cat([noise, condition], -1))
        loss = -batch.mean(self.critic(torch.cat([fake + normal[:, 0], condition], -1)).squeeze(-1))
        if self.auxiliary is not None:
            ac = batch.mean(cross_entropy(self.auxiliary(fake), batch.y).clamp(min=self.options.ac_floor))
            loss = loss + self.options.ac_weight * loss.detach().abs() * ac
        self.generator.backward(loss.sum())
