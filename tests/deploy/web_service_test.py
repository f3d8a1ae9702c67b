"""The web service: an image comes, its answer goes; what is wrong with it is said."""

import contextlib
import http.client
import io
import json

from helpers.pixel_scorers import NEW
from helpers.pixel_scorers import single
from helpers.toy_detectors import pixel_detector
import numpy as np
from PIL import Image
import pytest

import jood
from jood.deploy import web_service

pytest.importorskip("fastapi", reason="needs the extra jood[serve]")
pytest.importorskip("uvicorn", reason="needs the extra jood[serve]")


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "detector"
    single().save(path)
    return path


class Client:
    """Asks a running service over one connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def __call__(self, method, path, content=None, **headers):
        """Returns the status and the JSON of the response."""
        self.connection.request(method, path, content, headers)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())

    def post(self, content, **headers):
        return self("POST", "/answer", content, **headers)


@contextlib.contextmanager
def running(app):
    with web_service.in_background(app) as port:
        client = Client(port)
        yield client
        client.connection.close()


@pytest.fixture(scope="module")
def client(saved):
    with running(web_service.build(jood.Scorer(saved), most_bytes=5000)) as opened:
        yield opened


def test_an_image_gets_the_detectors_answer(client):
    expected = single().answer(NEW[:3])
    for i, image in enumerate(NEW[:3]):
        status, found = client.post(png(image))
        assert status == 200
        assert list(found) == [
            "score", "is_ood", "p_value", "prediction", "class_name"
        ]  # fmt: skip
        assert found["score"] == pytest.approx(float(expected.score[i]), rel=1e-5)
        assert found["is_ood"] is bool(expected.is_ood[i])
        assert found["p_value"] == pytest.approx(float(expected.p_value[i]))
        assert found["prediction"] == expected.prediction[i]
        assert found["class_name"] is None
    assert client("GET", "/health") == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"no image", "none of the formats JPEG, PNG"),
        (png(NEW[0])[:-40], "truncated"),
        (png(NEW[0, :8]), "its shape is (8, 16, 3), the detector takes (16, 16, 3)"),
    ],
    ids=["empty", "text", "truncated", "small"],
)
def test_an_image_that_cannot_be_scored_is_refused_with_the_reason(
    client, content, says
):
    status, found = client.post(content)
    assert status == 422
    assert says in found["detail"]


def test_a_body_that_is_too_long_is_refused_as_it_comes(client):
    in_parts = iter([b"x" * 3000] * 2)  # which do not say how many will come
    for content in (b"x" * 5001, in_parts):
        status, found = client.post(content)
        assert status == 413
        assert "more than the 5000 bytes allowed" in found["detail"]
    assert client.post(b"x" * 5000)[0] == 422


def test_a_form_is_refused_with_what_to_send(client):
    status, found = client.post(png(NEW[0]), **{"Content-Type": "multipart/form-data"})
    assert status == 415
    assert "--data-binary @photo.jpg" in found["detail"]


@pytest.mark.parametrize("fails", ["raises", "nan"])
def test_features_that_are_not_finite_are_the_images_fault(saved, monkeypatch, fails):
    """A folder's detector raises an error, an exported one gives NaN."""

    def answer(self, images):
        if fails == "raises":
            raise ValueError("NaN or infinite features or scores at index 0")
        nan, zero = np.array([np.nan]), np.array([0])
        return jood.Answer(nan, nan, nan, zero, None, np.array([""], object))

    monkeypatch.setattr(jood.Scorer, "answer", answer)
    with pytest.raises(web_service.RefusedError) as caught:
        web_service.answer_of(jood.Scorer(saved), b"")
    assert caught.value.status == 422
    assert "NaN or infinite" in str(caught.value)


@pytest.mark.slow
def test_a_bundles_answer_from_an_exported_file_has_names(tmp_path):
    detector = pixel_detector()
    detector.export(tmp_path / "d.zip")
    app = web_service.build(jood.Scorer(tmp_path / "d.zip"))
    with running(app) as client:
        _, found = client.post(png(NEW[0]))
    expected = detector.answer(NEW[:1])
    assert found["class_name"] == expected.class_name[0]
    for name in ("a", "b", "c"):
        score = float(expected.score[name][0])
        assert found["score"][name] == pytest.approx(score, rel=1e-5)
        assert found["is_ood"][name] is bool(expected.is_ood[name][0])
