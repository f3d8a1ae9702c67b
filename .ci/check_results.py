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
    far = {name: columns["mean far"] for name, columns in rows.items()}
    fused = [values for name, values in far.items() if "FS" in name and "TA" in name]
    auroc = max(values["AUROC"] for values in fused)
    fpr95 = min(values["FPR95"] for values in fused)
    usual = min(far["MSP"]["FPR95"], far["Energy"]["FPR95"])
    sets = set(rows["MSP"]) - {"mean", "mean far"}
    counts = f"{len(rows)} detectors x {len(sets)} sets"
    best = f"best FS+TA, mean far: AUROC {auroc:.4f}, FPR95 {fpr95:.4f}"
    print(f"accuracy {accuracy:.4f}, {counts}, {best} (MSP or Energy: {usual:.4f})")
    broken = [
        text
        for text, kept in {
            "at least 12 detectors": len(rows) >= 12,
            "five OOD sets": len(sets) == 5,
            "ID accuracy": accuracy >= ACCURACY_MINIMUM,
            "best FS+TA's mean far AUROC": auroc >= FAR_MINIMUM,
            "FS+TA's mean far FPR95 below MSP's and Energy's": fpr95 < usual,
        }.items()
        if not kept
    ]
    if broken:
        sys.exit(f"the quickstart broke its promises: {', '.join(broken)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
