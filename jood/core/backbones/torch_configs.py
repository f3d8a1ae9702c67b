"""The preprocessing that timm and torchvision keep beside their weights."""

import math
from typing import Any

from jood.core.preprocessing import Preprocessing


def torch_preprocessing(source: Any) -> Preprocessing:
    """Returns the preprocessing that PyTorch weights come with.

    Args:
      source: a timm model (its own configuration is read), or the transforms of
        torchvision's weights, `ResNet50_Weights.DEFAULT.transforms()`.

    Raises:
      TypeError: `source` is neither.
      ValueError: it pads its images, or they are not square.
    """
    if hasattr(source, "crop_size") and hasattr(source, "resize_size"):
        (resize,), (crop,) = source.resize_size, source.crop_size
        mean, std, how = source.mean, source.std, source.interpolation.value
    elif hasattr(source, "pretrained_cfg"):
        from timm import data

        config = data.resolve_model_data_config(source)
        mean, std, how = config["mean"], config["std"], config["interpolation"]
        _, crop, width = config["input_size"]
        side = math.floor(crop / config["crop_pct"])
        modes: dict[str, Any] = {"center": side, "squash": (side, side)}
        if crop != width or config["crop_mode"] not in modes:
            raise ValueError(
                f"the timm model takes images of {crop} x {width} pixels with "
                f"crop_mode={config['crop_mode']!r}; expected a square and one of "
                f"{', '.join(modes)}. Bring images to its size yourself, and give "
                "jood.Preprocessing(mean, std)."
            )
        resize = modes[config["crop_mode"]]
    else:
        raise TypeError(
            "expected a timm model or the transforms of torchvision's weights "
            f"(weights.transforms()), got {type(source).__name__}."
        )
    return Preprocessing(mean, std, resize=resize, crop=crop, interpolation=how)
