"""The rating page: blind, shuffled, on its own; and its answers. All answers here are made up."""

import re

import numpy as np
import pandas as pd
import pytest

from recon.errors import InputError
from recon.results import rating

METHODS = ("translator", "wavelet", "filter3d")


@pytest.fixture
def made(tmp_path):
    """A page of 12 samples, its key, and the samples."""
    rng = np.random.default_rng(0)
    samples = [
        rating.Sample(rng.random((8, 10)), {name: rng.random((8, 10)) for name in METHODS})
        for _ in range(12)
    ]
    path = tmp_path / "rating.html"
    return path, rating.page(samples, path, seed=3), samples


def answers(key, tmp_path, rater, liked="translator", seed=0):
    """Made-up ratings: 4 or 5 for the liked method, 1 to 3 for the others."""
    rng = np.random.default_rng(seed)
    table = pd.read_csv(key, dtype={"sample": str})
    draw = [rng.integers(4, 6) if m == liked else rng.integers(1, 4) for m in table.method]
    file = tmp_path / f"ratings-{rater}.csv"
    lines = table.assign(rater=rater, rating=draw)[rating.COLUMNS]
    lines.to_csv(file, index=False)
    return file


def test_the_page_is_blind_complete_and_reaches_for_nothing(made):
    path, key, _ = made
    html = path.read_text()
    assert not any(name in html for name in METHODS)
    assert "http" not in html and "src=" in html
    assert len(re.findall(r"data:image/png", html)) == 12 * (len(METHODS) + 1)
    table = pd.read_csv(key, dtype={"sample": str})
    names = {f"{s}/{c}" for s, c in zip(table["sample"], table.code, strict=True)}
    assert set(re.findall(r'type="radio" name="([^"]+)"', html)) == names and len(names) == 36
    assert sorted(set(table.place)) == list(range(12))


def test_the_order_is_shuffled_and_repeats_with_its_seed(made, tmp_path):
    _, key, samples = made
    first = pd.read_csv(key)
    orders = {tuple(part.method) for _, part in first.groupby("sample")}
    assert len(orders) > 2 and list(first.place[::3]) != sorted(first.place[::3])
    again = rating.page(samples, tmp_path / "again.html", seed=3)
    other = rating.page(samples, tmp_path / "other.html", seed=4)
    assert again.read_text() == key.read_text() != other.read_text()


def test_answers_find_their_methods_again(made, tmp_path):
    _, key, _ = made
    files = [answers(key, tmp_path, rater, seed=n) for n, rater in enumerate(("a", "b", "c"))]
    ratings = rating.read_ratings(files, key)
    table = rating.analyse(ratings).set_index(["rater", "method"])
    assert len(ratings) == 3 * 36 and (table.n == 12).all()
    for rater in "abc":
        assert table.loc[(rater, "translator"), "best"] == 1
        assert table.loc[(rater, "translator"), "lo"] > table.loc[(rater, "wavelet"), "hi"]
    preferred = rating.preferences(ratings, "translator")
    assert (preferred.lo > 0).all() and (preferred.p_value < 0.01).all() and len(preferred) == 6


def test_raters_who_disagree_agree_less(made, tmp_path):
    _, key, _ = made
    alike = [answers(key, tmp_path, rater, seed=n) for n, rater in enumerate("ab")]
    apart = [answers(key, tmp_path, "c", "wavelet"), answers(key, tmp_path, "d", "filter3d")]
    both = [
        rating.agreement(rating.read_ratings(files, key)) for files in (alike, [*alike, *apart])
    ]
    assert 0 <= both[1] < both[0] <= 1


def test_answers_that_cannot_be_are_refused(made, tmp_path):
    _, key, samples = made
    file = answers(key, tmp_path, "a")
    table = pd.read_csv(file, dtype={"sample": str})
    broken = {
        "1 to 5": table.assign(rating=[7, *table.rating[1:]]),
        "lacks a code": table.assign(code=["Z", *table.code[1:]]),
        "twice": pd.concat([table, table[:1]]),
        "columns": table.rename(columns={"rating": "score"}),
        "no ratings": table[:0],
    }
    for words, content in broken.items():
        content.to_csv(tmp_path / "broken.csv", index=False)
        with pytest.raises(InputError, match=words):
            rating.read_ratings([tmp_path / "broken.csv"], key)
    with pytest.raises(InputError, match="no ratings"):
        rating.read_ratings([], key)
    with pytest.raises(InputError, match="no sample"):
        rating.page([], tmp_path / "empty.html")
    unequal = rating.Sample(samples[0].reference, {"one": np.zeros((3, 3))})
    with pytest.raises(InputError, match="unequal"):
        rating.page([unequal], tmp_path / "unequal.html")
    many = rating.Sample(np.zeros((4, 4)), {f"m{k}": np.zeros((4, 4)) for k in range(11)})
    with pytest.raises(InputError, match="11 images"):  # none is left out in silence
        rating.page([many], tmp_path / "many.html")
