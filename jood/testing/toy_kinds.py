"""The toy network as each kind of network that jood runs; see `toy`."""

from collections.abc import Callable, Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core.backbones import kinds
from jood.core.backbones import torch_support
from jood.core.backbones.function import Backbone
from jood.core.backbones.observing import observe
from jood.core.component import Component
from jood.testing import toy


def _linen() -> Any:
    return toy.ToyNet()


def _nnx() -> Any:
    from flax import nnx  # takes a while to import

    class Pass(nnx.Module):
        def __init__(self, gain: float, tilt: float):
            self.gain, self.tilt = gain, tilt

        def __call__(self, x: jax.Array) -> jax.Array:
            return toy.gained(x, self.gain, self.tilt)

    class ToyNnx(nnx.Module):
        def __init__(self) -> None:
            self.block = Pass(*toy.BLOCK)
            self.C2, self.C3, self.C4, self.C5 = (
                Pass(*gain) for gain in toy.PASSES.values()
            )
            self.head = nnx.Linear(toy.WIDTH, toy.CLASSES, rngs=nnx.Rngs(0))
            for name, value in toy.toy_variables()["params"]["head"].items():
                setattr(self.head, name, nnx.Param(jnp.asarray(value)))

        def __call__(self, images: jax.Array) -> jax.Array:
            self.block(images)
            x = self.C5(self.C4(self.C3(self.C2(images))))
            return self.head(x.mean(axis=(1, 2)))

    return ToyNnx()


def _function() -> Any:
    def after(stage: str) -> Callable[[Any, jax.Array], dict[str, Any]]:
        """The rest of the network behind a stage; '' comes before all."""

        def run(params: Any, x: jax.Array) -> dict[str, Any]:
            del params
            stages = {}
            for name, gain in toy.PASSES.items():
                if name > stage:
                    stages[name] = x = toy.gained(x, *gain)
            return {"penultimate": x.mean(axis=(1, 2)), "stages": stages}

        return run

    head = toy.toy_variables()["params"]["head"]
    rest = {stage: after(stage) for stage in toy.PASSES}
    return Backbone(after(""), (head["kernel"], head["bias"]), rest)


def _torch() -> Any:
    import torch

    class Pass(torch.nn.Module):
        gains: torch.Tensor

        def __init__(self, gain: float, tilt: float):
            super().__init__()
            gains = gain * np.geomspace(tilt, 1.0, toy.WIDTH).astype(np.float32)
            self.register_buffer("gains", torch.from_numpy(gains)[None, :, None, None])

        def forward(self, x: Any) -> Any:
            return torch.relu(x) * self.gains

    class ToyTorch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            passes = {name: Pass(*gain) for name, gain in toy.PASSES.items()}
            self.passes = torch.nn.ModuleDict(passes)
            self.fc = torch.nn.Linear(toy.WIDTH, toy.CLASSES)
            head = toy.toy_variables()["params"]["head"]
            with torch.no_grad():
                self.fc.weight.copy_(torch.from_numpy(head["kernel"].T.copy()))
                self.fc.bias.copy_(torch.from_numpy(head["bias"]))

        def forward(self, x: Any) -> Any:
            for part in self.passes.values():
                x = part(x)
            return self.fc(x.mean((2, 3)))

    stages = {name: f"passes.{name}" for name in toy.PASSES}
    return torch_support.torch_backbone(ToyTorch().eval(), stages)


NETWORKS = {
    "Linen": _linen,
    "flax.nnx": _nnx,
    "function": _function,
    "PyTorch": _torch,
}


@functools.cache
def network(kind: str) -> tuple[Any, Mapping[str, Any]]:
    """Returns the toy network of a kind, and its variables with all added heads."""
    with jax.ensure_compile_time_eval():  # also where a program is being traced
        model = NETWORKS[kind]()
    given = toy.toy_variables()
    if kind != "Linen":
        del given["params"]  # these hold their own
    return model, kinds.of(model).complete(model, given)


def toy_activations(
    component: Component, images: Any, labels: Any = None, kind: str = "Linen"
) -> Any:
    """Observes the toy network with the edits that a component asks for.

    `kind` is one of `NETWORKS`.
    """
    model, variables = network(kind)
    return observe(
        model,
        variables,
        jnp.asarray(images),
        edits=component.edits,
        needs_network=component.needs_network,
        labels=labels,
    )
