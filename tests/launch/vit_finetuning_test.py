"""A ViT of other classes and a smaller size, from Google's names to a table."""

import csv
import textwrap

from helpers.jobs import run_job
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import weights
from jood.models import vit
from jood.weights import checkpoint
from jood.weights import run_checkpoint

PLUGIN = textwrap.dedent(
    '''
    """A ViT of 24 numbers a token, with the layouts of the large ones."""

    import functools

    from jood import weights
    from jood.models import vit
    from jood.models.family import Family
    from jood.weights import vit as layouts


    class TinyViT(vit.ViT):
        """Small enough for a test."""


    TINY = functools.partial(
        TinyViT, image_size=16, patch=8, width=24, depth=4, heads=3, mlp_width=48
    )
    weights.register(Family(TinyViT, {"vit_tiny": TINY}, 0), layouts.LAYOUTS)
    '''
)


MODEL = vit.ViT(21, image_size=16, patch=8, width=24, depth=4, heads=3, mlp_width=48)


@pytest.fixture
def google_file(tmp_path):
    """A network of 21 classes at 16 pixels, its classifier behind `pre_logits`."""
    model = vit.ViT(
        21, image_size=16, patch=8, width=24, depth=4, heads=3, mlp_width=48
    )
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    tensors = weights.to_torch_names(model, variables, "google")
    tensors |= {"pre_logits/kernel": np.eye(24), "pre_logits/bias": np.zeros(24)}
    path = tmp_path / "ViT-tiny_16.npz"
    np.savez(path, **tensors)
    return path


@pytest.mark.slow
def test_convert_fine_tune_and_evaluate(google_file, tmp_path):
    (tmp_path / "tiny_vit.py").write_text(PLUGIN)
    plugin = f"--plugins={tmp_path / 'tiny_vit.py'}"
    network, run, results = (tmp_path / n for n in ("network", "run", "results"))
    convert = (
        plugin, f"--weights={google_file}", "--model=vit_tiny", "--image_size=32",
        "--mean=.5,.5,.5", "--std=.5,.5,.5", f"--output={network}",
    )  # fmt: skip
    refused = run_job("convert", *convert, ok=False)
    assert "pre_logits" in refused
    assert "--num_classes=0" in refused
    printed = run_job("convert", *convert, "--num_classes=0")
    assert "names of google" in printed
    assert "2 x 2 patches are resampled to 4 x 4" in printed

    run_job(
        "train",
        plugin,
        "--benchmark=digits_tiny",
        f"--init_from={network}",
        "--new_head",
        "--objective=cross_entropy",
        "--epochs=1",
        "--batch_size=64",
        "--optimizer=sgd",
        "--learning_rate=0.03",
        "--warmup_epochs=0.2",
        "--weight_decay=0",
        "--clip_norm=1",
        f"--workdir={run}",
    )
    model = MODEL.clone(num_classes=8, image_size=32)
    arrays = network / checkpoint.ARRAYS_NAME
    started = weights.load(arrays, model.clone(num_classes=0))["params"]
    trained = run_checkpoint.load_variables(run, model, (32, 32, 3), "last")["params"]
    assert trained["head"]["kernel"].shape == (24, 8)
    assert trained["position_embedding"].shape == (1, 17, 24)
    for name, before in started.items():
        moved = [
            np.abs(a - b).max()
            for a, b in zip(
                jax.tree.leaves(before), jax.tree.leaves(trained[name]), strict=True
            )
        ]
        assert 0 < max(moved) < 1, name

    run_job(
        "evaluate",
        plugin,
        "--benchmark=digits_tiny",
        f"--checkpoint={run}",
        "--detectors=MSP=msp(), Mahalanobis=mahalanobis()",
        f"--output={results}",
    )
    with (results / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["detector"] for row in rows} == {"MSP", "Mahalanobis"}
