"""PyTorch, torchvision and timm as oracles; a test that needs one skips without."""

import os
import pathlib
import sys

import numpy as np
import pytest


def torch_or_skip():
    """Returns torch; a run that was promised it (JOOD_TORCH=1, in CI) must have it.

    Its generator starts anew: a network made next has the same weights whichever tests
    ran before, so that its rounding error, too, is the same in every run.
    """
    if os.environ.get("JOOD_TORCH"):
        import torch
    else:
        torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch


def library(name):
    """Returns torchvision or timm, which the oracle lets import beside a CPU torch."""
    torch_or_skip()
    if "JOOD_DATA_DIR" not in os.environ and not os.environ.get("JOOD_TORCH"):
        pytest.skip("JOOD_DATA_DIR is not set; ../oracle beside it is needed")
    folder = pathlib.Path(os.environ["JOOD_DATA_DIR"]).parent / "oracle"
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    import torchvision_cpu  # noqa: F401  # torchvision must find its operators

    if os.environ.get("JOOD_TORCH"):
        return __import__(name)
    return pytest.importorskip(name)


def perturbed(model, seed=0):
    """Gives a PyTorch model in evaluation mode BatchNorm values that no default hides.

    Its weights are drawn anew too, so that every tensor matters for the logits.
    """
    torch = torch_or_skip()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            if isinstance(module, torch.nn.Linear) and module.bias is not None:
                module.bias.normal_(0, 0.2, generator=generator)
    return model.eval()


def tensors(model):
    """Returns a model's state as NumPy arrays by name."""
    return {name: t.detach().numpy() for name, t in model.state_dict().items()}


def images(size, batch=2, seed=0):
    """Returns float32 images [B, size, size, 3]."""
    shape = (batch, size, size, 3)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def logits(model, batch):
    """Returns what a PyTorch model answers to images [B, H, W, 3]."""
    torch = torch_or_skip()
    with torch.inference_mode():
        return model(torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())).numpy()
