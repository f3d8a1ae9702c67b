"""`select` finds what an obvious loop finds, in shared programs, on noise only."""

import csv
import dataclasses
import io

import jax
import numpy as np
import pytest

import jood
from jood import metrics
from jood import testing
from jood.data import pipeline
from jood.data import sources
from jood.evaluation import selection
from jood.evaluation import vectorised
from jood.methods import detector_text

TRAIN = [testing.toy_images(64, seed) for seed in (0, 5)]
VALIDATION = [testing.toy_images(32, 9), testing.toy_images(32, 10)]  # one program
UNEVEN = [testing.toy_images(40, 9), testing.toy_images(24, 10)]
SMOOTHED = "feature_mask(q=q)|react(q=r)|prototype_smoothing()|energy()"


def toy():
    return jood.Detector("msp()", testing.ToyNet(), testing.toy_variables())


def noise(seed, batches=VALIDATION):
    return [
        np.asarray(
            jax.random.normal(jax.random.fold_in(jax.random.key(seed), i), x.shape)
        )
        for i, (x, _) in enumerate(batches)
    ]


def slowly(candidate, seed=0):
    """One candidate by itself: fit, score both sides, compare."""
    detector = dataclasses.replace(toy(), component=detector_text.parse(candidate.spec))
    detector = detector.fit(TRAIN)
    inside = np.concatenate([detector(x) for x, _ in VALIDATION])
    outside = np.concatenate([detector(x) for x in noise(seed)])
    return metrics.auroc(inside, outside), metrics.fpr_at_tpr(inside, outside)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "grid"),
    [
        (
            "ta(k=k, stage=stage)|feature_sim()",
            {"k": (0.0, 2.5), "stage": ("C3", "C4")},
        ),
        (SMOOTHED, {"q": (0.1, 0.6, 0.9), "r": (0.95, 0.99)}),
        (
            "ta(k=0.2)|fuse(feature_sim(), energy(), weights=(1, lam))",
            {"lam": (0.1, 1.0)},
        ),
        ("ta(k=k)|fuse(feature_sim(), energy(), weights='scale')", {"k": (0.1, 1.0)}),
        ("dice(q=q)|energy()", {"q": (0.5, 0.9, 0.95)}),
        ("feature_sim(stage=s)", {"s": ("C2", "C5")}),
        ("react(clip=c)|energy(T=t)", {"c": (0.05, 1.0), "t": (1.0, 5.0)}),
        ("knn(k=k)", {"k": (1, 20)}),
        ("vim(dim=d)", {"d": (4, 16)}),
        ("optfs(bins=b)|energy()", {"b": (10, 40)}),  # a pass steers the next one
        ("combood(k=k)", {"k": (1, 20)}),
        ("line(q_a=0.1, q_w=q, clip=1.0)|energy()", {"q": (0.1, 0.9)}),
        ("ta(k=k)|feature_sim()", {"k": (0, 0.3, np.float32(2.5))}),  # mixed types
        ("vra(low=low)|energy()", {"low": (0.1, 0.3)}),  # compared while built
        ("react(clip=c)|mahalanobis()", {"c": (0.05, 1.0)}),  # ranks differ
    ],
)
def test_every_candidate_equals_its_own_fit_and_score(method, grid):
    found = selection.select(method, grid, toy(), TRAIN, VALIDATION)
    assert len(found.candidates) == np.prod([len(v) for v in grid.values()])
    for candidate in found.candidates:
        auroc, fpr95 = slowly(candidate)
        assert candidate.auroc == pytest.approx(auroc, abs=2e-3)
        assert candidate.fpr95 == pytest.approx(fpr95, abs=0.04)
        assert (
            detector_text.parse(method, variables=candidate.values).spec
            == candidate.spec
        )
    assert found.best in found.candidates
    assert found.best in found.tied
    assert all(found.best.separation >= c.separation for c in found.tied)


def test_of_equal_candidates_the_first_is_taken():
    found = selection.select("energy(T=t)", {"t": (1.0, 1.0)},
                             toy(), TRAIN, VALIDATION)  # fmt: skip
    assert found.best is found.candidates[0]


@pytest.mark.slow
def test_the_whole_curve_is_told_as_table_and_csv():
    grid = {"q": (0.1, 0.9), "r": (0.95, 0.99)}
    found = selection.select(SMOOTHED, grid, toy(), TRAIN, VALIDATION)
    lines = list(csv.DictReader(io.StringIO(found.as_csv())))
    assert [(float(x["q"]), float(x["r"])) for x in lines] == [
        (0.1, 0.95), (0.1, 0.99), (0.9, 0.95), (0.9, 0.99)
    ]  # fmt: skip
    assert [x["spec"] for x in lines] == [c.spec for c in found.candidates]
    (chosen,) = [x for x in lines if x["chosen"]]
    assert chosen["spec"] == found.best.spec
    assert found.text().count("*") == 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_curve_and_another_does_not():
    grid = {"k": (0.1, 2.0)}

    def curve(seed):
        found = selection.select(
            "ta(k=k)|energy()", grid, toy(), TRAIN, UNEVEN, seed=seed
        )
        return [c.separation for c in found.candidates]

    assert curve(3) == curve(3) != curve(4)


def test_it_can_be_chosen_on_several_kinds_of_made_images():
    kinds = ("noise", "pixels", "mixed")
    grid = {"k": (0.1, 2.0)}

    def aurocs(*outliers):
        found = selection.select("ta(k=k)|energy()", grid, toy(), TRAIN, VALIDATION,
                                 outliers=outliers)  # fmt: skip
        assert found.kinds == outliers
        return [c.auroc for c in found.candidates]

    alone = [aurocs(kind) for kind in kinds]
    np.testing.assert_allclose(aurocs(*kinds), np.mean(alone, axis=0), atol=1e-6)
    assert len({tuple(one) for one in alone}) == 3
    with pytest.raises(ValueError, match="unknown kind of images to choose on"):
        aurocs("noisy")


def test_a_clip_that_zeroes_every_feature_is_degenerate_and_not_chosen():
    """Masked features are mostly 0, and so is their 0.7-quantile."""
    method = "feature_mask(q=0.9)|react(q=r)|prototype_smoothing()|energy()"
    found = selection.select(method, {"r": (0.5, 0.999)}, toy(), TRAIN, VALIDATION)
    assert [bool(c.degenerate) for c in found.candidates] == [True, False]
    assert found.best.values == {"r": 0.999}
    (doubt,) = [text for text in found.doubts() if "degenerate" in text]
    assert "react(q=0.5): that quantile of the training features is 0" in doubt
    assert "LFF" not in doubt  # this network was not trained with it


def count_traces(monkeypatch):
    """Notes each trace of the network."""
    traces = []
    call = testing.ToyNet.__call__

    def counted(self, images):
        traces.append(images.shape)
        return call(self, images)

    monkeypatch.setattr(testing.ToyNet, "__call__", counted)
    return traces


def test_a_sweep_over_k_is_compiled_once(monkeypatch):
    one = [TRAIN[0]], [VALIDATION[0]]  # one shape of batch
    traces = count_traces(monkeypatch)
    for values in ((0.1, 0.2), tuple(k / 10 for k in range(1, 11))):
        traces.clear()
        selection.select("ta(k=k)|feature_sim()", {"k": values}, toy(), *one)
        counts = len(traces)
        assert counts <= 4  # plain and edited, twice at most
        if len(values) == 2:
            few = counts
    assert counts == few


@pytest.mark.slow
def test_the_layers_before_the_edit_run_once_for_all_k():
    model = jood.models.create("resnet_small_8x8", 4, width=4, stage_sizes=(1, 1, 1))
    images = np.zeros((2, 16, 16, 3), np.float32)
    variables = model.init(jax.random.key(0), images)

    def convolutions(count):
        def score(k):
            part = detector_text.parse(
                "ta(k=k, stage='C4')|feature_sim()", variables={"k": k}
            )
            acts = jood.observe(model, variables, images, edits=part.edits)
            return part.apply((), acts)

        jaxpr = jax.make_jaxpr(jax.vmap(score))(np.linspace(0.1, 1.0, count))
        sizes = [
            eqn.invars[0].aval.shape[0]
            for eqn in jaxpr.eqns
            if eqn.primitive.name == "conv_general_dilated"
        ]
        return sizes

    sizes = convolutions(5)
    assert sizes.count(10) < sizes.count(2)  # 5 x 2 images after the edit only
    assert sizes.count(10) > 0


@pytest.mark.slow
def test_feature_sweeps_run_the_network_once_per_image():
    runs = []

    class Counted:
        def __init__(self, batches):
            self.batches = batches

        def __iter__(self):
            for batch in self.batches:
                runs.append(len(batch[0]))
                yield batch

    train = Counted(TRAIN)
    grid = {"q": tuple(q / 20 for q in range(1, 19)), "r": (0.95, 0.99)}
    assert 2 * vectorised.AT_ONCE < 36
    selection.select(SMOOTHED, grid, toy(), train, VALIDATION)
    # Once to look at the first batch's shape, once to run the network on all.
    assert runs in ([64, 64, 64], [64, 64])


@pytest.mark.slow
def test_uint8_images_are_preprocessed_and_the_noise_is_not():
    rng = np.random.default_rng(0)
    source = sources.ArraySource(
        rng.integers(0, 256, (24, 16, 16, 3), dtype=np.uint8),
        rng.integers(0, 4, 24).astype(np.int32),
    )
    model = jood.models.create("resnet_small_8x8", 4, width=4, stage_sizes=(1, 1))
    variables = model.init(jax.random.key(0), np.zeros((1, 16, 16, 3)))
    detector = jood.Detector(
        "msp()", model, variables, jood.Preprocessing((0.5,) * 3, (0.25,) * 3)
    )
    batches = pipeline.EvaluationBatches(source, 16)  # the last one is padded
    found = selection.select(
        "react(q=q)|odin(T=10.0, eps=e)",
        {"q": (0.9,), "e": (0.0, 0.01)},
        detector,
        batches,
        batches,
    )
    assert len(found.candidates) == 2
    assert found.candidates[0].separation != found.candidates[1].separation


@pytest.mark.parametrize(
    ("method", "grid", "match"),
    [
        ("ta(k=0.2)|energy()", {"k": (0.1,)}, "names k, which .* does not mention"),
        ("ta(k=k)|energy()", {}, "at least one value per name"),
        ("ta(k=k)|energy()", {"k": ()}, "at least one value per name"),
        ("ta(k=k)|energy()", {"k": (-1.0,)}, "k must be a finite number >= 0"),
        ("ta(k=k, stage=s)|energy()", {"k": (0.1,)}, "must be literals.*'s'"),
        ("ta(k=k)|enrgy()", {"k": (0.1,)}, "unknown method 'enrgy'"),
        ("ta(k=k)", {"k": (0.1,)}, "must end in a score"),
        ("ta(stage=s)|energy()", {"s": "C4"}, r"grid\['s'\] must be a list"),
        ("ta(k=k", {"k": (0.1,)}, "cannot read"),
    ],
)
def test_bad_methods_and_grids_are_refused(method, grid, match):
    with pytest.raises(ValueError, match=match):
        selection.select(method, grid, toy(), TRAIN, VALIDATION)


@pytest.mark.parametrize("which", ["train", "validation"])
def test_an_empty_source_is_refused(which):
    sets = {"train": TRAIN, "validation": VALIDATION, which: []}
    with pytest.raises(ValueError, match="empty"):
        selection.select("dice(q=q)|energy()", {"q": (0.5,)}, toy(), **sets)


@pytest.mark.slow
def test_what_candidates_learn_at_a_time_is_bounded(monkeypatch):
    sizes = []
    together = vectorised._together

    def noted(method, points, *rest):
        sizes.append(len(points))
        return together(method, points, *rest)

    monkeypatch.setattr(vectorised, "_together", noted)
    state = 4 * (64 * (testing.WIDTH + 1) + 1)  # bytes: 64 rows and hashes, a count
    monkeypatch.setattr(vectorised, "MEMORY", 3 * state)
    grid = {"q": (0.3, 0.4, 0.5, 0.6)}
    method = "ash_p(q=q)|knn(k=5, capacity=64)"
    found = selection.select(method, grid, toy(), TRAIN, VALIDATION)
    assert sizes == [3, 1]
    assert len({c.separation for c in found.candidates}) == 4


def test_batches_that_the_detector_refuses_are_refused():
    uint8 = [(np.zeros((4, 4, 4, 32), np.uint8), np.zeros(4, np.int32))]
    with pytest.raises(ValueError, match="uint8 but this detector has no preproc"):
        selection.select("ta(k=k)|energy()", {"k": (0.1,)}, toy(), TRAIN, uint8)
    images, labels = TRAIN[0]
    wrong = [(images, labels + 90)]
    with pytest.raises(ValueError, match="labels must lie in"):
        selection.select("dice(q=q)|energy()", {"q": (0.5,)}, toy(), wrong, VALIDATION)
