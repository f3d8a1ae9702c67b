"""PyTorch networks that stay in PyTorch: hooks read and rewrite, torch computes.

    backbone = jood.torch_backbone(module, stages={"C4": "layer3"}, head="fc")
    detector = jood.Detector("ta(k=0.2)|energy()", backbone, preprocessing=...)

The images go to torch as a view of their memory where both are on the host, and lie
there in the channels-last format. torch is imported when a module is given.
"""

from collections.abc import Callable, Mapping
import contextlib
import dataclasses
import threading
from typing import Any

import numpy as np

Maps = dict[str, np.ndarray]  # by stage, float32 [B, H, W, C] or tokens [B, L, C]


@dataclasses.dataclass(frozen=True, eq=False)
class TorchBackbone:
    """A `torch.nn.Module` as a network; made by `torch_backbone`.

    Attributes:
      module: the network, in evaluation mode; it is not copied.
      stages: names of submodules by stage, 'layer3' or 'blocks.11'.
      head: name of the linear submodule from the penultimate feature to the logits.
      version: changes of the weights up to now, which torch counts.
      lock: one run at a time, since hooks are the module's.
      shapes: shapes of a run's results for one image, by its shape, once known.
    """

    module: Any
    stages: Mapping[str, str]
    head: str
    version: int = 0
    lock: Any = dataclasses.field(default_factory=threading.Lock)
    shapes: dict[tuple[int, ...], Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"TorchBackbone({type(self.module).__name__})"

    def check(self) -> None:
        """Raises ValueError if the module is in training mode or was trained since."""
        name = type(self.module).__name__
        training = [
            path or name for path, m in self.module.named_modules() if m.training
        ]
        if training:
            raise ValueError(
                f"{name} is in training mode ({', '.join(training[:4])}): call "
                "module.eval() first."
            )
        if _version(self.module) != self.version:
            raise ValueError(
                f"the weights of {name} were changed or moved after "
                "jood.torch_backbone(module) was called, while a detector's head, "
                "fitted values and thresholds are of the weights then. Call it again, "
                "and make, fit and calibrate the detector anew."
            )

    def run(self, images: Any, replaced: Mapping[str, Any]) -> tuple[np.ndarray, Maps]:
        """Runs the network once, without gradients.

        Args:
          images: float32 [B, H, W, C].
          replaced: maps, as the stages give them, that stand for those of their stages.

        Returns:
          The penultimate features float32 [B, D], and the maps of all stages.
        """
        import torch

        self.check()
        with self.lock, torch.inference_mode():
            inputs = _channels_first(self._tensor(images))
            maps = {name: self._tensor(z) for name, z in replaced.items()}
            feature, new_maps = self._traced(inputs, maps)
            return _array(feature), {name: _array(z) for name, z in new_maps.items()}

    def gradients(
        self,
        images: Any,
        replaced: Mapping[str, Any],
        feature_gradient: Any,
        map_gradients: Mapping[str, Any],
    ) -> tuple[np.ndarray, Maps]:
        """Returns the gradients of images and replaced maps, given those of `run`."""
        import torch

        self.check()
        with self.lock, torch.enable_grad():
            pixels = self._tensor(images).requires_grad_()
            maps = {k: self._tensor(z).requires_grad_() for k, z in replaced.items()}
            feature, new_maps = self._traced(_channels_first(pixels), maps)
            sources = [pixels, *maps.values()]
            given = [feature_gradient, *(map_gradients[name] for name in new_maps)]
            gradients = torch.autograd.grad(
                [feature, *new_maps.values()],
                sources,
                [self._tensor(one) for one in given],
                allow_unused=True,
            )
        arrays = [
            np.zeros(source.shape, np.float32) if one is None else _array(one)
            for source, one in zip(sources, gradients, strict=True)
        ]
        return arrays[0], dict(zip(maps, arrays[1:], strict=True))

    def _traced(self, inputs: Any, replaced: Mapping[str, Any]) -> tuple[Any, Any]:
        """Feature [B, D] and maps, tensors float32, of inputs [B, C, H, W]."""
        head_inputs: list[Any] = []
        maps: dict[str, list[Any]] = {name: [] for name in self.stages}

        def keep_map(name: str) -> Callable[..., Any]:
            def hook(module: Any, arguments: Any, output: Any) -> Any:
                if name in replaced:
                    output = _channels_first(replaced[name]).to(output)
                maps[name].append(_channels_last(output).float())
                return output

            return hook

        def keep_feature(module: Any, arguments: Any) -> None:
            head_inputs.append(arguments[0])

        module = self.module
        with contextlib.ExitStack() as stack:
            for name, path in self.stages.items():
                hook = module.get_submodule(path).register_forward_hook(keep_map(name))
                stack.callback(hook.remove)
            hook = _head(self).register_forward_pre_hook(keep_feature)
            stack.callback(hook.remove)
            module(inputs.to(_parameter(module).dtype))
        counts = {f"the head {self.head!r}": len(head_inputs)}
        counts |= {f"the stage {self.stages[n]!r}": len(z) for n, z in maps.items()}
        for what, count in counts.items():
            if count != 1:
                raise ValueError(
                    f"{what} was called {count} times in one pass, expected once: name "
                    "a submodule that the network calls once."
                )
        feature = head_inputs[0].float()
        if feature.ndim == 4:  # of a 1x1 convolution
            feature = feature.mean((2, 3))
        return feature, {name: outputs[0] for name, outputs in maps.items()}

    def _tensor(self, array: Any) -> Any:
        import torch

        # A view: nothing writes to it. JAX's own arrays are read-only for NumPy.
        array = array if hasattr(array, "__dlpack__") else np.asarray(array)
        try:
            tensor = torch.from_dlpack(array)
        except (BufferError, RuntimeError):  # a type or a device that cannot be shared
            tensor = torch.from_numpy(np.array(array))
        return tensor.to(_parameter(self.module).device)


def torch_backbone(
    module: Any, stages: Mapping[str, str] | None = None, head: str = "fc"
) -> TorchBackbone:
    """Returns a PyTorch network as jood's detectors take it.

    It computes in PyTorch, on the device where it is; the detector's own part is
    JAX's. A method that rewrites a stage costs a whole further run of the network, and
    ODIN's gradient is torch's. Such a detector cannot be exported.

    Args:
      module: `torch.nn.Module` in evaluation mode; it takes images [B, C, H, W], while
        the detector takes [B, H, W, C], as everywhere.
      stages: names of submodules by stage, {'C4': 'layer3', 'C5': 'layer4'}; their
        outputs are maps [B, C, H, W] or tokens [B, L, C].
      head: name of the `Linear` submodule (or 1x1 convolution) that gives the logits.

    Raises:
      TypeError: `module` is not a `torch.nn.Module`.
      ValueError: it is in training mode, on several devices or on none, has no such
        submodule, or the head is not linear.
      ImportError: PyTorch is not installed.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"module must be a torch.nn.Module, got {type(module).__name__}."
        )
    name = type(module).__name__
    devices = {str(p.device) for p in (*module.parameters(), *module.buffers())}
    if len(devices) != 1 or "meta" in devices:
        raise ValueError(
            f"{name} must have its parameters on one device, got "
            f"{', '.join(sorted(devices)) or 'no parameters'}: call module.to(device)."
        )
    there = dict(module.named_modules())
    named = {f"the stage {k!r}": v for k, v in (stages or {}).items()}
    for what, path in {**named, "the head": head}.items():
        if not path or path not in there:
            paths = sorted((p for p in there if p), key=lambda p: p.count("."))
            raise ValueError(
                f"{name} has no submodule {path!r} to be {what}; it has: "
                f"{', '.join(paths[:24])}{', ...' * (len(paths) > 24)}."
            )
    linear = there[head]
    if getattr(getattr(linear, "weight", None), "ndim", 0) not in (2, 4) or (
        linear.weight.ndim == 4 and tuple(linear.weight.shape[2:]) != (1, 1)
    ):
        raise ValueError(
            f"the head {head!r} must be a Linear module or a 1x1 convolution, got "
            f"{type(linear).__name__}. Name the classifier's last linear layer."
        )
    backbone = TorchBackbone(module, dict(stages or {}), head, _version(module))
    backbone.check()
    _check_linear(backbone)
    return backbone


def _check_linear(backbone: TorchBackbone) -> None:
    """Raises ValueError if the head answers otherwise than its weight and bias say."""
    import torch

    module, (kernel, bias) = _head(backbone), classifier(backbone)
    feature = np.linspace(-1, 2, len(kernel), dtype=np.float32)  # of no special length
    expected = feature @ kernel + (0 if bias is None else bias)
    with torch.inference_mode():
        given = torch.from_numpy(feature).to(module.weight)
        answer = module(given.reshape(1, -1, *module.weight.shape[2:]))
    logits = _array(answer).ravel()
    size = np.abs(expected).max()
    if logits.shape != expected.shape or np.abs(logits - expected).max() > 0.02 * size:
        raise ValueError(
            f"the head {backbone.head!r} ({type(module).__name__}) is not linear: it "
            "answers something else than weight · feature + bias, which methods read. "
            "Name the classifier's last linear layer."
        )


def _head(backbone: TorchBackbone) -> Any:
    return backbone.module.get_submodule(backbone.head)


def classifier(backbone: TorchBackbone) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the head's kernel float32 [D, K], and its bias [K] or None."""
    linear = _head(backbone)
    kernel = _array(linear.weight.flatten(1).T)
    return kernel, None if linear.bias is None else _array(linear.bias)


def tensors(backbone: TorchBackbone) -> dict[str, np.ndarray]:
    """Returns all parameters and buffers by name, for a fingerprint."""
    state = backbone.module.state_dict()
    return {
        name: (t.float() if t.is_floating_point() else t).cpu().numpy()
        for name, t in state.items()
    }


def _version(module: Any) -> int:
    """A number that grows when weights or statistics are changed in place."""
    tensors = (*module.parameters(), *module.buffers())
    return sum(t._version for t in tensors if not t.is_inference())


def _parameter(module: Any) -> Any:
    return next(iter((*module.parameters(), *module.buffers())))


def _channels_first(tensor: Any) -> Any:
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def _channels_last(tensor: Any) -> Any:
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor


def _array(tensor: Any) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
