"""What accelerators can compute at best, as their makers' data sheets say."""

# 10¹² operations a second, dense: (bfloat16 on tensor cores, float32 without TF32), by
# the beginning of JAX's device kind. A TPU multiplies float32 as three bfloat16.
_PEAKS = {
    "NVIDIA B200": (2250.0, 75.0),
    "NVIDIA H200": (989.0, 67.0),
    "NVIDIA H100": (989.0, 67.0),
    "NVIDIA A100": (312.0, 19.5),
    "NVIDIA L4": (121.0, 30.3),
    "Tesla T4": (65.0, 8.1),
    "TPU v6": (918.0, None),
    "TPU v5p": (459.0, None),
    "TPU v5": (197.0, None),
    "TPU v4": (275.0, None),
}


def of(device_kind: str, dtype: str) -> float | None:
    """Returns the peak in 10¹² floating-point operations a second, None if unknown.

    Args:
      device_kind: Name of the device, as `jax.Device.device_kind` gives it.
      dtype: 'bfloat16', 'float16' or 'float32'.
    """
    for name, (half, single) in _PEAKS.items():
        if device_kind.startswith(name):
            return single if dtype == "float32" else half
    return None
