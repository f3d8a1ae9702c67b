"""What jobs share on the command line: plugins first, names when flags are parsed."""

from absl import flags
import pytest

from jood import cli
from jood import extensions
from jood.methods import detector_text
from jood.methods import presets


@pytest.fixture
def loaded(monkeypatch):
    """The names that are given to jood.extensions.load."""
    names = []
    monkeypatch.setattr(extensions, "load", names.extend)
    return names


@pytest.mark.parametrize(
    "arguments",
    [
        ["--plugins=mine,theirs.py", "--epochs=2"],
        ["--epochs", "2", "--plugins", "mine,theirs.py"],
        ["-plugins=mine,theirs.py"],
    ],
)
def test_plugins_are_loaded_before_flags_are_parsed(loaded, arguments):
    extensions.load_named(arguments)
    assert loaded == ["mine", "theirs.py"]


def test_plugins_of_a_flagfile_are_loaded_and_none_are_without(loaded, tmp_path):
    extensions.load_named(["--plugin_like=x", "--detectors=msp"])
    assert loaded == []
    (tmp_path / "a.cfg").write_text("--epochs=1\n--plugins=mine\n")
    given = [f"--flagfile={tmp_path / 'a.cfg'}"]
    extensions.load_named(flags.FLAGS.read_flags_from_files(given))
    assert loaded == ["mine"]


def test_a_plugin_that_cannot_be_loaded_ends_the_job_with_the_reason(monkeypatch):
    def load(names):
        raise ValueError(f"no module {names[0]}")

    monkeypatch.setattr(extensions, "load", load)
    with pytest.raises(ValueError, match="no module mine"):
        extensions.load_named(["--plugins=mine"])


def test_a_name_that_is_registered_late_is_a_valid_value():
    names = ["first"]
    cli._define_name("cli_test_name", None, "A name.", lambda: names)
    try:
        names.append("later")
        flags.FLAGS.cli_test_name = "later"
        with pytest.raises(flags.IllegalFlagValueError, match="near: later"):
            flags.FLAGS.cli_test_name = "latter"
    finally:
        delattr(flags.FLAGS, "cli_test_name")


def test_detectors_are_described_with_every_value_and_its_source():
    rows = cli.detectors("msp, mine=fs_ta, HIMPLoS", "cifar10", "resnet32")
    assert list(rows) == ["msp", "mine", "HIMPLoS"]
    assert rows["mine"].component.spec == detector_text.parse("fs_ta", "cifar10").spec
    told = "\n".join(cli.described(rows))
    assert "mine: ta(k=0.2, stage='C4')|feature_sim(stage='C5')" in told
    assert "ta(k=0.2): Feature Sim, Sec. 6.2" in told
    assert (
        "react(q=0.9): fallback: 0.9-quantile of ID activations, no published value "
        "for resnet32"
    ) in told


@pytest.mark.parametrize("group", cli.GROUPS)
def test_a_group_of_detectors_has_the_rows_of_its_names(group):
    rows = cli.detectors(group, "cifar10")
    assert set(rows) <= set(presets.everything())
    assert rows["KNN"].component.spec.startswith("knn(k=50,")


def test_the_data_s_folder_and_who_named_it_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("JOOD_DATA_DIR", str(tmp_path))
    assert cli.data_origin("cifar10", None) == {
        "data_dir": str(tmp_path),
        "data_dir_from": "environment, JOOD_DATA_DIR",
    }
    given = cli.data_origin("cifar10", str(tmp_path / "a"))
    assert given == {"data_dir": str(tmp_path / "a"), "data_dir_from": "--data_dir"}
    assert cli.data_origin("digits", None) == {}
    monkeypatch.delenv("JOOD_DATA_DIR")
    assert cli.data_origin("cifar10", None) == {}


def test_a_converted_network_asks_for_a_benchmark_or_for_folders():
    with pytest.raises(ValueError, match=r"--benchmark, one of .*cifar10.*--images"):
        cli.benchmark_name(None, {}, "networks/mine")
    assert cli.benchmark_name(None, {"benchmark": "digits"}, "runs/a") == "digits"
