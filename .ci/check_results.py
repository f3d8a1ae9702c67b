"""Holds a quickstart's results to what the README promises; used by .ci/run."""

import json
import pathlib
import sys

FAR_MINIMUM, ACCURACY_MINIMUM = 0.975, 0.93


def main(folder: str) -> None:
    """Exits with a message if a promise is broken."""
    results = json.loads((pathlib.Path(folder) / "results.json").read_text())
    (rows,) = results["metrics_by_seed"]
    accuracy = results["id_accuracy"][0]
    far = {name: columns["mean far"]["AUROC"] for name, columns in rows.items()}
    best = max(value for name, value in far.items() if "FS" in name and "TA" in name)
    ood_sets = set(rows["MSP"]) - {"mean", "mean far"}
    print(f"accuracy {accuracy:.4f}, best FS+TA mean far AUROC {best:.4f}, ", end="")
    print(f"{len(rows)} detectors x {len(ood_sets)} sets")
    broken = [
        text
        for text, kept in {
            "at least 12 detectors": len(rows) >= 12,
            "five OOD sets": len(ood_sets) == 5,
            "ID accuracy": accuracy >= ACCURACY_MINIMUM,
            "best FS+TA's mean far AUROC": best >= FAR_MINIMUM,
            "FS+TA above MSP and Energy": best > max(far["MSP"], far["Energy"]),
        }.items()
        if not kept
    ]
    if broken:
        sys.exit(f"the quickstart broke its promises: {', '.join(broken)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
