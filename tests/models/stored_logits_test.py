"""Networks against logits that torchvision gave once, where PyTorch is not at hand."""

import json

from helpers import stored_logits
import jax
import numpy as np
import pytest

from jood import weights

STORED = json.loads(stored_logits.FILE.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", stored_logits.NAMES)
def test_logits_are_those_that_torchvision_gave(name):
    model = stored_logits.model_of(name)
    tensors = stored_logits.tensors(name)
    variables = weights.from_torch_names(tensors, model, "torchvision")
    logits = jax.jit(model.apply)(variables, stored_logits.images())
    expected = np.array(STORED[name])
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(logits / scale, expected / scale, rtol=0, atol=1e-4)
    assert expected.std() > 0.05
