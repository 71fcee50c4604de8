"""A table that agrees with itself, one that does not, and the bound that ties SSIM to PSNR."""

from dataclasses import replace

import numpy as np
import pytest
from fastmri import evaluate

from recon.results import claims
from recon.results.audit import excess, least_ssim, shares

HALF = {"psnr": 0.05, "ssim": 0.0005}


def paper_with(rows):
    paper = claims.load("chen-2022")
    table = replace(paper.tables["I"], rows=tuple(rows))
    return replace(paper, tables={"I": table})


def exact(share):
    generator = np.random.default_rng(0)
    for method in ("cs", "unet", "d5c5"):
        parts = [generator.uniform([20, 20, 0.5, 0.5], [40, 40, 1, 1]) for _ in range(2)]
        whole = share * parts[0] + (1 - share) * parts[1]
        for contrast, values in zip(("PD", "PDFS", "all"), (*parts, whole), strict=True):
            yield "knee_singlecoil", contrast, method, tuple(values)


def round_each(values):
    return tuple(round(v, 1 if i < 2 else 3) for i, v in enumerate(values))


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_shares_of_a_table_made_of_means_are_found(share):
    rows = [(*row[:3], round_each(row[3])) for row in exact(share)]
    found, missed = shares(paper_with(rows), "I", HALF)
    assert found["PD"] == pytest.approx(share, abs=0.02)
    assert missed == pytest.approx(0, abs=1e-6)


def test_known_numbers_of_volumes_explain_a_table_or_do_not():
    rows = [(*row[:3], round_each(row[3])) for row in exact(0.3)]
    paper = paper_with(rows)
    assert excess(paper, "I", {"PD": 30, "PDFS": 70}, HALF) == 0
    assert excess(paper, "I", {"PD": 70, "PDFS": 30}, HALF) > 2
    wrong = paper_with([*rows[:-1], (*rows[-1][:3], (rows[-1][3][0] + 1.0, *rows[-1][3][1:]))])
    assert excess(wrong, "I", {"PD": 30, "PDFS": 70}, HALF) == pytest.approx(18, abs=2)


def test_a_wrong_number_in_a_table_is_found():
    rows = [(*row[:3], round_each(row[3])) for row in exact(0.5)]
    rows[-1] = (*rows[-1][:3], (rows[-1][3][0] + 1.0, *rows[-1][3][1:]))
    assert shares(paper_with(rows), "I", HALF)[1] > 2


@pytest.mark.parametrize("kind", ["noise", "offset", "blocks"])
def test_no_image_falls_below_the_least_ssim_of_its_psnr(kind):
    generator = np.random.default_rng(1)
    target = np.zeros((1, 160, 160))
    target[:, 40:120, 40:120] = generator.random((80, 80))
    for size in (1e-4, 1e-3, 3e-3):
        error = {
            "noise": generator.normal(size=target.shape),
            "offset": np.ones(target.shape),
            "blocks": np.kron(generator.normal(size=(1, 20, 20)), np.ones((1, 8, 8))),
        }[kind]
        image = np.abs(target + size * error)
        psnr = evaluate.psnr(target, image, target.max())
        ssim = evaluate.ssim(target, image, target.max())
        assert least_ssim(float(psnr)) <= ssim <= 1
    assert least_ssim(10) == -1
