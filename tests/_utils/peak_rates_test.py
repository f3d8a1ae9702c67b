"""Peaks of accelerators."""

from jood._utils import peak_rates


def test_a_device_is_known_by_the_beginning_of_its_name():
    assert peak_rates.of("NVIDIA H200", "bfloat16") == 989
    assert peak_rates.of("NVIDIA A100-SXM4-80GB", "float32") == 19.5
    assert peak_rates.of("TPU v5p chip", "bfloat16") == 459
    assert peak_rates.of("TPU v5 lite", "bfloat16") == 197
    assert peak_rates.of("cpu", "float32") is None
