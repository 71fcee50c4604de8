"""Laws of inserted lesions, of pairs of scans that hold them, and of those who look for them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from recon.data import inserted, inserted_measured
from recon.data.fastmri import read_volume
from recon.data.manifest import load_manifest
from recon.data.measurement import Sampling, measure
from recon.data.simulate import plan_volume
from recon.errors import InputError
from recon.learning import detectability as see
from recon.learning import false_structures as false
from recon.learning.exams import count_spots, level_of, measure_lesions, observe
from recon.learning.inserted_study import examine, full_scans
from recon.phantoms import coil_array, lesions, scanner
from recon.phantoms.lesions import Lesion, Wish
from recon.physics.sampling import make_mask

DISC = Lesion("marrow_oedema", 0, 32, 30, 3.0, 0.3)


@pytest.mark.parametrize("diameter", [1, 2.5, 6])
def test_a_lesion_holds_nothing_beyond_the_full_scan(diameter):
    """Band limit and energy: on a grid of any fineness the same disc, and no higher frequency."""
    coarse = lesions.profile((64, 60), (30, 28), diameter)
    fine = lesions.profile((128, 120), (60, 56), diameter, finer=2)
    np.testing.assert_allclose(fine[::2, ::2], coarse, atol=1e-3)
    spectrum = np.abs(np.fft.fft2(fine)) ** 2
    down, across = np.fft.fftfreq(128)[:, None], np.fft.fftfreq(120)
    assert spectrum[2 * np.hypot(down, across) > 0.5].sum() < 1e-9 * spectrum.sum()
    assert (fine**2).sum() / 4 == pytest.approx((coarse**2).sum(), rel=1e-3)


def test_wide_lesions_have_the_area_of_their_disc():
    """The spectrum at zero is the disc's area; wide discs reach 1, so their sum is that area."""
    wide = lesions.profile((96, 96), (48, 48), 14)
    assert wide.sum() == pytest.approx(np.pi * 49, rel=0.05)
    assert wide[48, 48] == pytest.approx(1, abs=0.06) and abs(wide[4, 4]) < 0.01


def test_a_lesion_lies_where_it_was_put():
    moved = lesions.profile((64, 64), (20, 41), 3)
    assert np.unravel_index(moved.argmax(), moved.shape) == (20, 41)
    whole = lesions.template(3)
    assert whole.shape[0] % 2 == 1 and whole.argmax() == whole.size // 2


@pytest.mark.parametrize(
    ("kind", "contrast", "sign"),
    [
        ("marrow_oedema", "PDFS", 1),
        ("marrow_oedema", "PD", -1),
        ("cartilage_defect", "PD", 1),
        ("meniscal_tear", "PDFS", 1),
        ("white_matter_lesion", "FLAIR", 1),
        ("white_matter_lesion", "T1", -1),
    ],
)
def test_signs_are_those_of_the_disease(kind, contrast, sign):
    assert lesions.sign_of(kind, contrast) == sign


def test_lesions_lie_within_their_host_and_in_rows_of_their_own():
    host = np.zeros((256, 256), np.float32)
    host[40:216, 90:170] = 1
    wishes = [Wish("marrow_oedema", d, c) for d in (6, 3, 1) for c in (0.1, 0.3)]
    rng, whole = np.random.default_rng(3), (0, 128, 0, 128)
    hosts = lesions.hosts_of({"marrow": host})
    for _ in range(5):
        placed = lesions.place(hosts, wishes, rng, whole, "PD", finer=2, own_rows=True)
        assert len(placed) >= 5
        rows = sorted(placed, key=lambda one: one.row)
        for one, other in pairwise(rows):
            assert other.row - one.row > (one.diameter + other.diameter) / 2
        for one in placed:
            drawn = lesions.profile(host.shape, (2 * one.row, 2 * one.column), one.diameter, 2)
            assert (drawn**2 * host).sum() > 0.96 * (drawn**2).sum()
            assert one.contrast < 0
    none = lesions.hosts_of({"fat": host})
    assert not lesions.place(none, wishes, rng, whole, "PD", finer=2)


def scan_of(seed=5, **changes):
    """A body with air around it, its scan without noise, coil maps and phase."""
    y, x = np.linspace(-1, 1, 64)[:, None], np.linspace(-1, 1, 64)
    picture = ((y / 0.9) ** 2 + (x / 0.7) ** 2 < 1) * (0.9 + 0.1 * np.cos(5 * x + 3 * y))
    body = np.repeat(picture[None], 2, 0)
    body = body / np.percentile(body[body > 0.05 * body.max()], 95)
    scan = replace(scanner.draw_scan((64, 32), 4, seed, "PD"), taper=0.1, padding=(1, 2), **changes)
    maps = coil_array.sensitivities(body, scan.array)
    return body, scan, maps


def test_lesions_are_measured_as_the_scanner_measures():
    """The whole body, put in as if it were a lesion, gives the scanner's own k-space."""
    body, scan, maps = scan_of(noise=0.0)
    measured = scanner.measure(body, scan)
    for i in range(2):
        again = inserted.encode(body[i], scan, maps(i), scanner.object_phase(body[i], scan, i))
        np.testing.assert_allclose(again, measured[i], atol=3e-6 * np.abs(measured).max())


def test_encoding_is_linear_in_the_lesion():
    body, scan, maps = scan_of()
    phase = scanner.object_phase(body[0], scan, 0)
    one = lesions.profile((64, 64), (30, 30), 3, 2)
    twice = inserted.encode(-2 * one, scan, maps(0), phase)
    np.testing.assert_allclose(
        twice, -2 * inserted.encode(one, scan, maps(0), phase), atol=1e-6 * np.abs(twice).max()
    )


def test_other_noise_has_the_same_spread():
    body, scan, _ = scan_of()
    scan = replace(scan, noise=0.05)
    added = scanner.measure(body, scan) - scanner.measure(body, replace(scan, noise=0.0))
    other = np.stack([inserted.noise_of(scan, 2, np.random.default_rng(i)) for i in range(20)])
    assert other.std() == pytest.approx(added.std(), rel=0.05)
    per_coil = [np.abs(x).std(axis=(-3, -1, -2)) for x in (other[:, :, 1], added[:, 1])]
    assert per_coil[0].mean() == pytest.approx(per_coil[1].mean(), rel=0.1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """One knee of the quick set with a scan with lesions."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("RECON_CACHE", str(tmp_path_factory.mktemp("cache")))
    manifest = load_manifest("simulated_knee")
    small = {"matrix": [128, 64], "crop": [64, 64], "coils": [4, 5], "pixel_mm": 2.3}
    small |= {"train": {"volumes": 2, "slices": 1}, "val": {"volumes": 3, "slices": 1}}
    tiny = replace(manifest, profiles={"quick": small})
    with monkeypatch.context() as patch:
        patch.setattr(inserted, "load_manifest", lambda name: tiny)
        made = inserted.inserted_pairs("simulated_knee", "quick", (2, 4), (0.1, 0.4), 3)
    yield made
    monkeypatch.undo()


def test_a_pair_differs_by_its_lesions_only(pair):
    """The difference carries no noise and lies where the lesions are."""
    one = pair[0]
    healthy, sick = read_volume(one.healthy), read_volume(one.inserted[0])
    found = inserted.read_lesions(one.inserted[0])
    assert found and {x.diameter for x in found} <= {2, 4}
    change = np.fft.fftshift(
        np.fft.ifft2(np.fft.ifftshift(sick.kspace - healthy.kspace, axes=(-2, -1)), norm="ortho"),
        axes=(-2, -1),
    )[0, :, 32:96]
    strength = np.sqrt((np.abs(change) ** 2).sum(0))
    near = np.zeros(strength.shape, bool)
    for x in found:
        reach = lesions.reach(x.diameter) + 4
        near[max(0, x.row - reach) : x.row + reach, max(0, x.column - reach) : x.column + reach] = 1
    assert strength[near].max() > 30 * strength[~near].max()
    plain = read_volume(one.repeat)
    assert np.abs(plain.kspace - healthy.kspace).std() > 0
    assert plain.kspace.shape == healthy.kspace.shape and plain.padding == healthy.padding


def test_lesions_in_rows_of_their_own_do_not_alias_onto_one_another(pair):
    """Columns left out mix pixels of a row only: rows without a lesion stay as they were."""
    healthy, sick = read_volume(pair[0].healthy), read_volume(pair[0].inserted[0])
    mask = make_mask(64, 4, 0.08, "random", 3)
    one, other = (measure(v, 0, mask) for v in (healthy, sick))
    change = (other.image * other.scale - one.image * one.scale).abs().amax((0, 2)).numpy()
    touched = np.zeros(len(change), bool)
    for x in inserted.read_lesions(pair[0].inserted[0]):
        reach = lesions.reach(x.diameter) + 4
        touched[max(0, x.row - reach) : x.row + reach + 1] = True
    assert change[touched].max() > 20 * change[~touched].max()


def test_the_reader_reads_every_method(pair):
    methods = {"zero_filled": lambda batch: batch.image, "blank": lambda batch: 0 * batch.image}
    exams = examine(pair, methods, Sampling(3, 0.15, "equispaced_fraction"), 4, widest=2)
    target = [exam.without["full"] for exam in exams]
    bodies = [exam.regions["body"] for exam in exams]
    detectors = {d: false.calibrate(target, bodies, d, 0.02, 0.01) for d in (2.0, 4.0)}
    read = measure_lesions(exams, detectors)
    full = read[read.method == "full"]
    assert full.recovery.to_numpy() == pytest.approx(1)
    assert (read[read.method == "blank"].recovery == 0).all()
    assert not read[read.method == "blank"].found.any()
    assert full.found.sum() > full.found_without.sum()
    assert set(read.method) == {"full", "zero_filled", "blank"}
    spots = count_spots(exams, detectors)
    blank = spots[spots.method == "blank"]
    assert (blank.new == 0).all() and (blank.lost == blank.there).all() and blank.lost.sum() > 0
    seen = observe(exams, ["marrow_oedema"])
    assert len(seen) and seen.auc.between(0, 1).all() and (seen.lo <= seen.hi).all()
    assert (seen[seen.method == "blank"].auc == 0.5).all()


def test_bad_requests_are_refused():
    for wrong, says in (
        ({"data": "fastmri_folder"}, "simulated"),
        ({"sizes": (0.1,)}, "sizes"),
        ({"contrasts": (0,)}, "contrasts"),
    ):
        given = {"data": "simulated_knee", "sizes": (2,), "contrasts": (0.2,), **wrong}
        with pytest.raises(InputError, match=says):
            inserted.inserted_pairs(
                given["data"], "quick", given["sizes"], given["contrasts"], volumes=1
            )
    plan = plan_volume(load_manifest("simulated_knee"), "quick", "val", 0)
    assert plan.turns == 0  # upright: lesions are placed in tissues that are drawn upright


@pytest.mark.parametrize("diameter", [1, 3, 6])
@pytest.mark.parametrize("rate", [0.05, 0.005])
def test_false_positives_of_the_detector_are_as_many_as_asked_for(diameter, rate):
    """On white noise: by theory, and by calibration on other noise."""
    rng = np.random.default_rng(1)
    one, other = (7 * rng.standard_normal((500, 500)) + 3 for _ in range(2))
    where = np.zeros(one.shape, bool)
    where[20:-20, 20:-20] = True
    z = np.abs(false.conspicuity(other, diameter))[where]
    assert (z >= false.white_threshold(diameter, rate)).mean() == pytest.approx(rate, rel=0.2)
    detector = false.calibrate([one], [where], diameter, rate, 0.0)
    assert (z >= detector.threshold).mean() == pytest.approx(rate, rel=0.25)


def test_the_detector_finds_what_is_there_and_says_what_is_new():
    rng = np.random.default_rng(2)
    ground = 1 + 0.02 * rng.standard_normal((64, 64))
    sick = ground + 0.3 * lesions.profile((64, 64), (DISC.row, DISC.column), DISC.diameter)
    where = np.zeros(ground.shape, bool)
    where[8:-8, 8:-8] = True
    detector = false.Detector(3.0, false.white_threshold(3.0, 1e-5))
    z, plain = (false.conspicuity(image, 3.0) for image in (sick, ground))
    assert false.found(z, DISC, detector) and not false.found(plain, DISC, detector)
    assert not false.found(z, replace(DISC, contrast=-0.3), detector)
    np.testing.assert_array_equal(
        false.unmatched(z, plain, detector, where), [[DISC.row, DISC.column]]
    )
    assert len(false.unmatched(z, z, detector, where)) == 0
    images = {"sick": sick, "same": ground}
    both = false.invented_and_removed(images, ground, detector, where)
    assert [len(places) for pair in both.values() for places in pair] == [1, 0, 0, 0]
    healed = false.invented_and_removed({"healed": ground}, sick, detector, where)["healed"]
    assert [len(places) for places in healed] == [0, 1]
    assert np.abs(false.conspicuity(sick, 3.0, 1.0)).max() < np.abs(z).max() / 10  # the floor


def test_recovery_and_cnr_follow_the_lesion():
    rng = np.random.default_rng(4)
    ground = rng.standard_normal((64, 64))
    grown = lesions.profile((64, 64), (DISC.row, DISC.column), DISC.diameter)
    for share in (0.0, 0.4, 1.0, -0.5):
        value = see.recovery(ground, ground + share * grown, grown, DISC)
        assert value == pytest.approx(share, abs=1e-6)
    values = [see.cnr(ground + a * grown, DISC) for a in (0, 2, 4)]
    steps = np.diff(values)  # but for the little of the profile that reaches the surround
    assert steps[0] > 1 and steps[1] == pytest.approx(steps[0], rel=0.01)


def test_the_observer_reaches_the_detectability_of_theory():
    """White noise, a known signal in the channels' span: d' is the signal's norm over the noise."""
    rng = np.random.default_rng(5)
    waves = see.channels(3.0)
    shape = waves[0] + 0.5 * waves[1]
    noise = rng.standard_normal((600, *shape.shape))
    absent = np.tensordot(noise, waves, ((1, 2), (1, 2)))
    present = np.tensordot(noise[:300] + 1.5 * shape, waves, ((1, 2), (1, 2)))
    gram = np.tensordot(waves, waves, ((1, 2), (1, 2)))
    signal = np.tensordot(waves, 1.5 * shape, 2)
    ideal = np.sqrt(signal @ np.linalg.solve(gram, signal))
    volumes, others = np.arange(300) % 10, np.r_[np.arange(300) % 10, np.arange(300) % 10]
    yes, no = see.leave_one_out(present, absent[:300], absent, volumes, others)
    spread = np.sqrt(0.5 * (yes.var() + no.var()))
    assert (yes.mean() - no.mean()) / spread == pytest.approx(ideal, rel=0.15)
    lo, hi = see.auc_interval(yes, no, volumes, others)
    assert lo < see.auc(yes, no) < hi
    blind = see.leave_one_out(
        absent[:300], absent[:300] - signal, absent[300:], volumes, others[300:]
    )
    assert see.auc(*blind) == pytest.approx(0.5, abs=0.06)  # nothing there, nothing seen


def test_auc_counts_pairs():
    assert see.auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert see.auc(np.array([1.0]), np.array([1.0])) == 0.5
    assert see.auc(np.array([0.0, 2.0]), np.array([1.0])) == 0.5


def test_the_level_is_the_bodys(pair):
    target = read_volume(pair[0].healthy).target[0]
    assert level_of(2 * target) == pytest.approx(2 * level_of(target))
    assert torch.from_numpy(target).max() >= level_of(target) > 0


def test_lesions_of_measured_scans_are_seen_by_their_own_coils(pair, monkeypatch, tmp_path):
    """Found through estimated coils and phase, a lesion comes out where and as strong as asked."""
    monkeypatch.setenv("RECON_CACHE", str(tmp_path))
    files = [one.healthy for one in pair[:2]]
    made = inserted_measured.inserted_into(files, (3,), (0.2,), draws=1)
    assert [one.repeat for one in made] == [None, None]
    for one in made:
        without, with_lesions, again = full_scans(one)
        np.testing.assert_array_equal(without, again)
        for x in inserted.read_lesions(one.inserted[0]):
            change = with_lesions[x.row, x.column] - without[x.row, x.column]
            assert change == pytest.approx(x.contrast, abs=0.06)
            assert np.sign(change) == np.sign(x.contrast)


def test_even_tissue_is_bright_and_even():
    picture = np.zeros((60, 60))
    picture[5:55, 5:55] = 1
    picture[5:55, 40:55] = np.random.default_rng(0).uniform(0, 2, (50, 15))
    where = inserted_measured.even_tissue(picture)
    assert where[30, 20] == 1 and where[30, 48] == 0 and where[1, 1] == 0 and where[30, 39] == 0


def test_the_sites_of_a_joint_take_turns():
    kinds = [
        [w.kind for w in inserted.wishes_for("knee", (1, 3), (0.1, 0.3), number)]
        for number in range(3)
    ]
    assert [one[0] for one in kinds] == ["cartilage_defect", "meniscal_tear", "cartilage_defect"]
    assert all(one[1:] == ["marrow_oedema"] * 4 for one in kinds)
    brain = inserted.wishes_for("brain", (1, 3), (0.1,), 5)
    assert [(w.kind, w.diameter) for w in brain] == [
        ("white_matter_lesion", 3),
        ("white_matter_lesion", 1),
    ]
