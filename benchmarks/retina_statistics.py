"""Statistics of the simulated retina beside those it was calibrated to.

Run ``python benchmarks/retina_statistics.py [--profile quick] [--data simulated_retina]``. With
``--root`` it prints what can be measured without a truth on a folder of real B-scans.

The ranges of shape, correlation and noise were set down before the simulator was written, as
starting points for averaged B-scans; PSNR and SSIM of the raw images, mean and deviation, are those
of table 1 of the paper (Manakov 2019). Nothing here is fitted when it runs.
"""

import argparse

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.registration import phase_cross_correlation

from recon.data.oct import Domains, open_oct, read_bscans, read_truth
from recon.data.oct_folders import noise_level
from recon.phantoms.retina import BOUNDARIES
from recon.physics.speckle import SPECTRALIS, gain_ceiling

TARGETS = {
    "gamma shape of the intensity, 12 frames": (4.0, 7.6),
    "residual correlation, next row": (0.19, 0.43),
    "residual correlation, next column": (0.03, 0.12),
    "deviation of the dark vitreous": (0.01, 0.01),
    "PSNR of 12 against 60 frames, dB": (21.99 - 1.33, 21.99 + 1.33),
    "SSIM of 12 against 60 frames": (0.662 - 0.055, 0.662 + 0.055),
}


def with_truth(path) -> dict[str, list[float]]:
    """Shape, correlations and floor of one 12-frame volume, from its residual."""
    scans, truth = read_bscans(path), read_truth(path)
    rows = np.arange(scans.shape[1])[None, :, None]
    ilm, bm = (truth.boundaries[:, [BOUNDARIES.index(name)]] for name in ("ILM", "BM"))
    tissue = (rows > ilm + 3) & (rows < bm - 3) & (truth.clean > 0.3) & (scans < 1)
    ratio = (scans[tissue] / truth.clean[tissue]) ** (1 / SPECTRALIS.display)
    residual = np.where(tissue, scans - truth.clean, np.nan)
    residual -= np.nanmean(residual)

    def lag(axis: int) -> float:
        n = residual.shape[axis]
        a, b = np.take(residual, range(1, n), axis), np.take(residual, range(n - 1), axis)
        return float(np.nanmean(a * b) / np.nanmean(residual**2))

    dark = scans[rows + 0 * scans.astype(int) < ilm - 12]
    return {
        "gamma shape of the intensity, 12 frames": [ratio.mean() ** 2 / ratio.var()],
        "residual correlation, next row": [lag(1)],
        "residual correlation, next column": [lag(2)],
        "deviation of the dark vitreous": [dark.std()] if dark.size > 200 else [],
    }


def with_partner(high, low) -> dict[str, list[float]]:
    """Raw scores of one pair, registered by whole pixels and cropped to what both show."""
    found = {"PSNR of 12 against 60 frames, dB": [], "SSIM of 12 against 60 frames": []}
    for a, b in zip(read_bscans(high), read_bscans(low), strict=True):
        shift = np.round(phase_cross_correlation(b, a)[0]).astype(int)
        a = np.roll(a, shift, (0, 1))[8:-8, 8:-8]
        b = b[8:-8, 8:-8]
        found["PSNR of 12 against 60 frames, dB"].append(
            peak_signal_noise_ratio(b, a, data_range=1)
        )
        found["SSIM of 12 against 60 frames"].append(structural_similarity(b, a, data_range=1))
    return found


def measure(domains: Domains) -> dict[str, list[float]]:
    """All values, one or more a volume."""
    values: dict[str, list[float]] = {name: [] for name in TARGETS}
    for k, high in enumerate(domains.high):
        found = with_truth(high) if domains.simulated else {}
        if domains.paired:
            found |= with_partner(high, domains.low[k])
        for name, more in found.items():
            values[name] += more
    return values


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", default="simulated_retina")
    options.add_argument("--profile", default="quick")
    options.add_argument("--root", default="", help="folder of a real set")
    chosen = options.parse_args()
    domains = open_oct(chosen.data, "test", chosen.profile, chosen.root)
    print(f"{'':42}{'mean':>8}{'sd':>8}   target")
    for name, values in measure(domains).items():
        if values:
            low, high = TARGETS[name]
            target = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
            print(f"{name:42}{np.mean(values):8.3f}{np.std(values):8.3f}   {target}")
    print(f"{'noise, wavelet estimate, few frames':42}{noise_level(domains.high):8.3f}")
    if domains.low:
        print(f"{'noise, wavelet estimate, many frames':42}{noise_level(domains.low):8.3f}")
    if domains.simulated:
        ceiling = gain_ceiling(12, 60, SPECTRALIS.correlation)
        print(f"{'ceiling of the PSNR gain, dB':42}{ceiling:8.3f}")


if __name__ == "__main__":
    main()
