"""T2FNorm against its authors' code."""

from helpers import compiled
from helpers import golden_training as golden

from jood.core.activations import Activations
from jood.methods import detector_text
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.t2fnorm import normalised_logits


def test_loss_score_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "t2fnorm"):
        tau, labels = given["tau"], given["labels"]

        def logits(features, W, b, tau=tau):
            return normalised_logits(features, W.T, b, tau)

        def loss(labels=labels, logits=logits, **inner):
            return softmax_cross_entropy(logits(**inner), labels)

        inner = {name: given[name] for name in ("features", "W", "b")}
        golden.check(loss, inner, given, group)
        found = compiled.run(logits, *inner.values())
        golden.close(found, given["logits_train"], f"logits of {group}")
        acts = Activations.of(given["features"], given["W"].T, given["b"])
        for text, suffix in ((f"t2f_scale(tau={tau})|", ""), ("", "_1000classes")):
            score = compiled.apply(detector_text.parse(f"{text}msp()"), (), acts)
            golden.close(score, given[f"score{suffix}"], f"score{suffix} of {group}")
