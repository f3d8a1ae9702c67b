"""PyTorch's files that hold more than plain tensors, if PyTorch is installed.

`torch_files` reads the others without it. `pip install "jood[torch]"` fetches, on
Linux, the wheels with CUDA, some gigabytes, unless PyTorch is there already; `CPU` is
how to get the one without.
"""

import pathlib
import re
from typing import Any
import warnings

CPU = "pip install torch --index-url https://download.pytorch.org/whl/cpu"


def load(path: pathlib.Path) -> Any:
    """Reads a file that torch.save wrote, without running any code of it.

    Raises:
      ImportError: PyTorch is not installed.
      ValueError: the file is damaged, is something else, or holds objects that only
        code of its own could build.
    """
    try:
        import torch
    except ImportError:
        raise ImportError(
            f"{path} is damaged, or a file of PyTorch with more than plain tensors, "
            f"which only PyTorch reads: {CPU} (which leaves out CUDA), or pip install "
            '"jood[torch]"; or save the tensors alone where PyTorch is.'
        ) from None
    try:
        with warnings.catch_warnings():  # of pickles' protocols and TorchScript
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of every kind: foreign bytes are read as a pickle
        raise ValueError(f"cannot read {path}: {_reason(str(error))}") from None


def _reason(message: str) -> str:
    unsafe = re.search(r"GLOBAL ([\w.]+)|Can only", message)
    if unsafe:
        return (
            f"it holds objects beside tensors ({unsafe[1] or 'of unknown classes'}). "
            "Building them could run any code, so it is refused. If you trust where it "
            "came from, save its tensors alone: content = torch.load(path, "
            "weights_only=False), torch.save(content['state_dict'], 'tensors.pth') (or "
            "whatever key holds them; content.state_dict() of a whole model), or save "
            "them as .safetensors."
        )
    if "TorchScript" in message:
        return (
            "it is a TorchScript program. Save its tensors alone: "
            "torch.save(torch.jit.load(path).state_dict(), 'tensors.pth')."
        )
    return (
        "it is truncated or not a file that torch.save wrote (pickles of other kinds "
        "are not read); expected a state_dict. Fetch or save it again."
    )
