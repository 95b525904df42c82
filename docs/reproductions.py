"""Published orders, tried at a size that two cores can do: differences, paired by seed.

    python docs/reproductions.py                 all of them, some hours; goes on where it stopped
    python docs/reproductions.py iwae prior      these alone
    python docs/reproductions.py iwae --quick    whether it runs: no result
    python docs/reproductions.py --table         print what docs/reproductions.json has

Each arm is a study (`jaxvae study`) of three seeds. A difference of two arms is resolved where it
is more than twice its standard error over the seeds; otherwise it is not, an answer too.
"""

import argparse
import csv
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from results import record

from jaxvae.atomic import atomic

FOUND = Path(__file__).with_name("reproductions.json")
SEEDS = 3
# The network with one layer of latents of Burda et al. 2016, on a third of MNIST.
BURDA = (
    "--data.source mnist --data.binarize dynamic --data.batch-size 100 --data.limit 20000"
    " --model.hidden-dims 200 200 --model.activation tanh --model.latent-dim 50 --train.epochs 10"
)
NLL = "--metrics nll units --num-samples 1000 --limit 1000"
TEN = "--data.source mnist --data.batch-size 128 --data.limit 20000 --train.epochs 10"
FIFTY = f"{TEN} --model.latent-dim 50"  # more than a VAE uses
BINARY = "--data.binarize static"
CONV = "--model.network conv --model.hidden-dims 16 32"
AGGREGATED = "--metrics decomposition units --limit 5000"
SPRITES = "--metrics decomposition disentanglement --limit 5000"


class Claim(NamedTuple):
    """`column` is lower in the first arm than in the second; `published`: a paper says so."""

    text: str
    lower: str
    higher: str
    column: str
    published: bool = True


Arm = str | dict[str, float]
"""Options of a study; or values that others are compared with."""
ARMS: dict[str, dict[str, Arm]] = {
    "iwae": {
        "k = 1": f"k_sample_vae --objective.samples 1 {BURDA} {NLL}",
        "k = 5": f"iwae --objective.samples 5 {BURDA} {NLL}",
        "k = 50": f"iwae --objective.samples 50 {BURDA} {NLL}",
        "mean of 5": f"k_sample_vae --objective.samples 5 {BURDA} {NLL}",
        "DReG 50": f"dreg --objective.samples 50 {BURDA} {NLL}",
    },
    "equal_cost": {
        # A step of 40 samples of DReG costs what one of 50 of the IWAE does: docs/variants.md,
        # "Published orders".
        "DReG 40": f"dreg --objective.samples 40 {BURDA} {NLL}",
        "k = 50": f"iwae --objective.samples 50 {BURDA} {NLL}",
    },
    "several": {
        "MIWAE 8x8": f"miwae --objective.samples 8 --objective.repeats 8 {BURDA} {NLL}",
        "PIWAE 8x8": f"piwae --objective.samples 8 --objective.repeats 8 {BURDA} {NLL}",
        "CIWAE 64": f"ciwae --objective.samples 64 {BURDA} {NLL}",
    },
    "free_bits": {
        "VAE": f"beta_vae --objective.beta 1 {FIFTY} {AGGREGATED}",
        "free bits": f"free_bits_vae {FIFTY} {AGGREGATED}",
        "capacity 10": f"capacity_vae --objective.gamma 1000 {TEN} {AGGREGATED}",
        "0.1 nats": {"off_10": 0.1},
    },
    "prior": {
        "VAE": f"beta_vae --objective.beta 1 --model.latent-dim 10 {TEN} {AGGREGATED}",
        "InfoVAE": f"info_vae {TEN} {AGGREGATED}",
        "InfoVAE 0, 1000": (
            f"info_vae --objective.alpha 0 --objective.mmd-weight 1000 {TEN} {AGGREGATED}"
        ),
    },
    "discrete": {
        "VAE": f"beta_vae --objective.beta 1 {CONV} --model.latent-dim 20 {TEN}",
        "VQ-VAE": f"vq_vae {CONV} {TEN}",
        "Gumbel 20x10": f"gumbel_vae {TEN} {BINARY} --model.hidden-dims 200 {NLL}",
        "VAE 20": f"beta_vae --objective.beta 1 {TEN} {BINARY} --model.hidden-dims 200 {NLL}",
    },
    "sprites": {
        # Each beta at which the reconstruction is that of one of the others.
        "beta 1.5": f"sprites_beta_vae --objective.beta 1.5 {SPRITES}",
        "beta 3.4": f"sprites_beta_vae --objective.beta 3.4 {SPRITES}",
        "beta-TC 4": f"sprites_beta_tc_vae --objective.tc-weight 4 {SPRITES}",
        "FactorVAE 20": f"sprites_factor_vae --objective.gamma 20 {SPRITES}",
    },
}

CLAIMS = {
    "iwae": [
        Claim("NLL of k = 5 below k = 1 (Burda 2016, table 1)", "k = 5", "k = 1", "nll.nll"),
        Claim("NLL of k = 50 below k = 5 (Burda 2016)", "k = 50", "k = 5", "nll.nll"),
        Claim("NLL of IWAE 5 below the mean of 5 (Burda 2016)", "k = 5", "mean of 5", "nll.nll"),
        Claim("more active units at k = 50 (Burda 2016)", "k = 1", "k = 50", "units.active"),
        Claim("NLL of DReG 50 below IWAE 50 (Tucker 2019)", "DReG 50", "k = 50", "nll.nll"),
    ],
    "equal_cost": [
        Claim("NLL of DReG below IWAE at equal cost (Tucker 2019)", "DReG 40", "k = 50", "nll.nll"),
    ],
    "several": [
        Claim("NLL of PIWAE below MIWAE (Rainforth 2018)", "PIWAE 8x8", "MIWAE 8x8", "nll.nll"),
        Claim("NLL of CIWAE below MIWAE (Rainforth 2018)", "CIWAE 64", "MIWAE 8x8", "nll.nll"),
    ],
    "free_bits": [
        Claim("free bits: more active units (Kingma 2016)", "VAE", "free bits", "units.active"),
        Claim(
            "KL within 0.1 of C = 10, gamma 1000 (Burgess 2018)",
            *("capacity 10", "0.1 nats", "off_10"),
            published=False,  # 0.1 is what was aimed at here
        ),
    ],
    "prior": [
        Claim(
            "KL from q(z) to p(z) of InfoVAE below the VAE's (Zhao 2017)",
            *("InfoVAE", "VAE", "decomposition.aggregated_kl"),
        ),
        Claim(
            "the same, at alpha 0 and lambda 1000",
            *("InfoVAE 0, 1000", "VAE", "decomposition.aggregated_kl"),
        ),
    ],
    "discrete": [
        Claim(
            "bound of the VAE below the VQ-VAE's, log 64 a position (van den Oord 2017, 4.1)",
            *("VAE", "VQ-VAE", "bound"),
        ),
        Claim("recon of the VQ-VAE below the VAE's", "VQ-VAE", "VAE", "recon", published=False),
        Claim(
            "NLL of Gaussian latents below that of 20 x 10 categories (Jang 2017 has 101.5)",
            *("VAE 20", "Gumbel 20x10", "nll.nll"),
            published=False,
        ),
    ],
    "sprites": [
        Claim(
            "TC of beta-TC below beta's at equal reconstruction (Chen 2018)",
            *("beta-TC 4", "beta 3.4", "decomposition.total_correlation"),
        ),
        Claim("their reconstructions", "beta-TC 4", "beta 3.4", "recon", published=False),
        Claim("MIG of beta-TC above it", "beta 3.4", "beta-TC 4", "disentanglement.mig"),
        Claim(
            "TC of FactorVAE below beta's at equal reconstruction (Kim 2018)",
            *("FactorVAE 20", "beta 1.5", "decomposition.total_correlation"),
        ),
        Claim("their reconstructions", "FactorVAE 20", "beta 1.5", "recon", published=False),
        Claim(
            "MIG of FactorVAE above it",
            *("beta 1.5", "FactorVAE 20", "disentanglement.mig"),
            published=False,  # Kim and Mnih have a score of their own
        ),
    ],
}

POSITIONS, CODES = 7 * 7, 64  # of the VQ-VAE
QUICK = "--data.limit 500 --train.epochs 1 --limit 100 --num-samples 10 --train.figures-every None"


def read() -> dict[str, Any]:
    """The claims of each name, with where, when and in what time they were measured."""
    found: dict[str, Any] = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    return found


def arm(options: Arm, folder: Path, quick: bool) -> list[dict[str, float]]:
    """What the study of an arm measured, a row per seed."""
    if isinstance(options, dict):
        return [options] * SEEDS
    given = [*options.split(), *(QUICK.split() if quick else ["--train.figures-every", "None"])]
    command = ["study", *given, "--seeds", str(SEEDS), "--out", str(folder)]
    subprocess.run([sys.executable, "-m", "jaxvae", *command], check=True, stdout=sys.stderr)
    with (folder / "study.csv").open() as file:
        rows = [{n: float(x) for n, x in row.items() if x} for row in csv.DictReader(file)]
    for row in rows:  # KL(q(z) || p(z)) is what the KL has besides the mutual information
        if "decomposition.kl" in row:
            mi = row["decomposition.mutual_information"]
            row["decomposition.aggregated_kl"] = row["decomposition.kl"] - mi
        row["off_10"] = abs(row["kl"] - 10)  # of the mean over the images, not over each batch
        # The prior of a VQ-VAE is uniform over its codes, at each of its positions.
        of_codes = POSITIONS * math.log(CODES) if options.startswith("vq_vae") else row["kl"]
        row["bound"] = row["recon"] + of_codes
    return rows


def compared(claim: Claim, arms: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """The differences by seed, their mean and its standard error, and what that says."""
    low, high = ([row[claim.column] for row in arms[name]] for name in (claim.lower, claim.higher))
    differences = [b - a for a, b in zip(low, high, strict=True)]
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5
    confirmed = "as published" if claim.published else "resolved"
    resolved = abs(mean) > 2 * error
    return {
        "claim": claim.text,
        "lower": {claim.lower: statistics.mean(low)},
        "higher": {claim.higher: statistics.mean(high)},
        "difference": mean,
        "se": error,
        "verdict": (confirmed if mean > 0 else "the reverse") if resolved else "not resolved",
    }


def table(found: dict[str, Any]) -> str:
    """The claims as rows of Markdown, each with the name that makes it."""
    lines = ["| claim | | | difference (se) | | name |", "|---|---|---|---|---|---|"]
    rows = [(name, row) for name in CLAIMS if name in found for row in found[name]["claims"]]
    for name, each in rows:
        (low, a), (high, b) = *each["lower"].items(), *each["higher"].items()
        values = f"{low}: {a:.2f} | {high}: {b:.2f}"
        difference = f"{each['difference']:.2f} ({each['se']:.2f})"
        said = f"{each['verdict']} | `{name}`"
        lines.append(f"| {each['claim']} | {values} | {difference} | {said} |")
    return "\n".join(lines)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*ARMS, []], help="by default all")
    parser.add_argument("--out", type=Path, default=Path("runs/reproductions"))
    parser.add_argument("--quick", action="store_true", help="a trial of the commands")
    parser.add_argument("--table", action="store_true", help="print what was found")
    given = parser.parse_args()
    found = read()
    for name in () if given.table else given.names or ARMS:
        if name in found and not given.quick:
            continue
        folders = {label: given.out / name / label.replace(" ", "_") for label in ARMS[name]}
        began = None if (given.out / name).exists() else time.perf_counter()
        arms = {n: arm(text, folders[n], given.quick) for n, text in ARMS[name].items()}
        found[name] = {"claims": [compared(claim, arms) for claim in CLAIMS[name]]} | record(began)
        if not given.quick:
            with atomic(FOUND) as temporary:
                temporary.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
