"""How far apart colours are to readers who do not see all of them.

Linear RGB is projected as Machado, Oliveira and Fernandes (2009) give it for severity
1, and distances are Euclidean in CIELAB (ΔE of 1976): one of 2 is hardly seen.
"""

from matplotlib import colors
import numpy as np

SIMULATED = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
_TO_XYZ = np.array(  # of sRGB, relative to its white
    [
        [0.4339531, 0.3762193, 0.1898431],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0177578, 0.1094756, 0.8727663],
    ]
)


def distance(one: str, other: str, deficiency: str) -> float:
    """Returns ΔE of two colours ('#0072B2') in the eyes of a reader."""
    seen = np.array(SIMULATED[deficiency])
    return float(np.linalg.norm(_lab(one, seen) - _lab(other, seen)))


def contrast(colour: str) -> float:
    """Returns WCAG's contrast of a colour to white."""
    return 1.05 / (_TO_XYZ[1] @ _linear(colour) + 0.05)


def _linear(colour: str) -> np.ndarray:
    values = np.array(colors.to_rgb(colour))
    low = values <= 0.04045
    return np.where(low, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(colour: str, seen: np.ndarray) -> np.ndarray:
    xyz = _TO_XYZ @ np.clip(seen @ _linear(colour), 0, 1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
