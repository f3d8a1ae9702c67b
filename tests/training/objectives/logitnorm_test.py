"""LogitNorm against its authors' code."""

from helpers import golden_training as golden
import jax

from jood.core.activations import Activations
from jood.core.activations import linear
from jood.methods import detector_text
from jood.training.objectives.logitnorm import logit_norm_loss


def test_loss_score_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "logitnorm"):
        labels, tau = given["labels"], given["tau"]

        def of_logits(logits, labels=labels, tau=tau):
            return logit_norm_loss(logits, labels, tau)

        def of_features(features, W, b, of_logits=of_logits):
            return of_logits(linear(features, W.T, b))

        rtol = 1e-4 if group == "edge" else 1e-5
        golden.check(of_logits, {"logits": given["logits"]}, given, group, rtol)
        if "grad_W" not in given:
            continue
        inner = {name: given[name] for name in ("features", "W", "b")}
        golden.check(of_features, inner, given, group)
        acts = Activations.of(given["features"], given["W"].T, given["b"])
        found = jax.jit(lambda acts: detector_text.parse("msp()").apply((), acts))(acts)
        golden.close(found, given["score_msp"], f"MSP of {group}")
