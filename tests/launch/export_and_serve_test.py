"""From a saved detector to one file, and to answers over HTTP."""

import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time

from helpers.jobs import ROOT
from helpers.jobs import run_job
from helpers.jobs import start_job
from helpers.pixel_scorers import HOW
from helpers.pixel_scorers import NEW
from helpers.pixel_scorers import pixels_to
from helpers.pixel_scorers import single
import numpy as np
from PIL import Image
import pytest

import jood
from jood.detector import export_loader

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "detector"
    single().save(path)
    return path


def test_a_detector_becomes_one_file(saved, tmp_path):
    flags = (f"--detector={saved}", f"--output={tmp_path / 'd.zip'}")
    told = run_job("export", *flags, "--tpr=0.7", "--dry_run")
    assert "export energy(T=1.0) for images 16 x 16 x 3" in told
    assert not list(tmp_path.iterdir())
    printed = run_job("export", *flags, "--tpr=0.7")
    assert f"python {tmp_path / 'd.zip'} photo.jpg" in printed
    detector = export_loader.load(tmp_path / "d.zip")
    assert detector.about["summary"]["tpr"] == 0.7
    expected = single().answer(NEW).score
    np.testing.assert_allclose(detector.answer(NEW).score, expected, rtol=1e-6)
    again = run_job("export", *flags, ok=False)
    assert "exists already" in again


def test_the_size_of_images_is_asked_for_where_nothing_says_it(tmp_path):
    pixels_to("msp()").save(tmp_path / "d")
    flags = (f"--detector={tmp_path / 'd'}", f"--output={tmp_path / 'd.zip'}")
    assert "give --image_size" in run_job("export", *flags, code=1)
    printed = run_job("export", *flags, "--image_size=16")
    assert "is not calibrated" in printed
    assert jood.Scorer(tmp_path / "d.zip").answer(NEW[:1]).is_ood is None
    resized = jood.Preprocessing(HOW.mean, HOW.std, crop=16)
    pixels_to("msp()", resized).save(tmp_path / "crop")
    flags = (f"--detector={tmp_path / 'crop'}", f"--output={tmp_path / 'c.zip'}")
    told = run_job("export", *flags, "--image_size=32", code=1)
    assert "takes images of (16, 16) pixels" in told


def test_score_keeps_programs_for_the_next_start(saved, tmp_path):
    np.savez(tmp_path / "images.npz", images=NEW)
    cache = tmp_path / "programs"
    for name in ("first", "second"):
        run_job(
            "score",
            f"--detector={saved}",
            f"--images={tmp_path / 'images.npz'}",
            f"--output={tmp_path / name}",
            f"--compilation_cache={cache}",
            JAX_COMPILATION_CACHE_DIR=None,
        )
        kept = {path.name for path in cache.iterdir() if "cache" in path.name}
        assert any("jit_score" in path for path in kept)


def test_a_service_answers_until_it_is_interrupted(saved):
    pytest.importorskip("uvicorn", reason="needs the extra jood[serve]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = (f"--detector={saved}", f"--port={port}", "--max_megabytes=0.01")
    told = run_job("serve", *flags, "--dry_run")
    assert f"answer with {saved} at http://127.0.0.1:{port}/answer" in told
    service = start_job("serve", *flags)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(600):
            try:
                connection.request("GET", "/health")
                break
            except ConnectionError:
                assert service.poll() is None, service.stdout.read()
                connection.close()
                time.sleep(0.2)
        assert json.loads(connection.getresponse().read()) == {"status": "ok"}
        buffer = io.BytesIO()
        Image.fromarray(NEW[0]).save(buffer, "png")
        connection.request("POST", "/answer", buffer.getvalue())
        found = json.loads(connection.getresponse().read())
        expected = float(single().answer(NEW[:1]).score[0])
        assert found["score"] == pytest.approx(expected, rel=1e-5)
        connection.request("POST", "/answer", b"x" * 10_001)
        assert connection.getresponse().status == 413
        connection.close()
        service.send_signal(signal.SIGINT)
        printed, _ = service.communicate(timeout=60)
    finally:
        service.kill()
    assert service.returncode == 0, printed
    assert f"http://127.0.0.1:{port}/answer" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("detector", ["nowhere", "text"])
def test_a_service_says_at_once_what_is_wrong_with_its_detector(tmp_path, detector):
    pytest.importorskip("uvicorn", reason="needs the extra jood[serve]")
    (tmp_path / "text").write_text("no zip")
    printed = run_job("serve", f"--detector={tmp_path / detector}", code=1)
    assert re.search("not a saved detector|not an exported detector", printed)
    assert str(tmp_path / detector) in printed


def test_without_the_extra_the_service_says_what_to_install(saved):
    code = (
        "import runpy, sys; sys.modules['fastapi'] = None;"
        f"sys.argv = ['{ROOT / 'launch' / 'serve.py'}', '--detector={saved}'];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'jood[serve]'" in done.stderr
