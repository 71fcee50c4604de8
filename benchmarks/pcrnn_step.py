"""Time one training step of PC-RNN-S against the same network written as the replication lists it.

The listing (Devoto 2020, listings 2 to 4) keeps real and imaginary parts as the last axis, shifts
before and after every Fourier transform, multiplies by mask and anti-mask, and runs in 32-bit with
the default memory layout. Both sides share one set of weights, so both compute the same image; that
is checked before anything is timed. Rounds alternate between the sides, so a busy machine slows
both. Peak memory is measured in a process of its own for each side.

    python benchmarks/pcrnn_step.py [--size 320] [--coils 4] [--batch 1] [--rounds 5]
"""

import argparse
import multiprocessing

import fastmri
import torch
from torch import Tensor, nn

from recon.learning import cost
from recon.learning.training import pick_precision
from recon.networks.pcrnn import PCRNN, pcrnn_s
from recon.physics.coils import rss
from recon.physics.fourier import to_corner
from recon.results.provenance import device_name


class Listing(nn.Module):
    """The network as the listings write it, on ``(batch, 2 coils, height, width)`` real images."""

    def __init__(self, network: PCRNN):
        super().__init__()
        self.network = network

    def consistency(self, image: Tensor, kspace: Tensor, mask: Tensor) -> Tensor:
        """Listing 4, except that its result is returned (the listing returns its input)."""
        batch, channels, height, width = image.shape
        prediction = image.reshape(batch, 2, channels // 2, height, width).permute(0, 2, 3, 4, 1)
        k_space_prediction = fastmri.fft2c(prediction.contiguous())
        k_space_out = (1 - mask) * k_space_prediction + mask * kspace
        prediction = fastmri.ifft2c(k_space_out)
        return prediction.permute(0, 4, 1, 2, 3).reshape(batch, channels, height, width)

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Masked centred k-space ``(batch, coils, height, width, 2)``, mask 0 or 1."""
        zero = fastmri.ifft2c(kspace)
        image = zero.permute(0, 4, 1, 2, 3).flatten(1, 2)
        outputs = []
        for module in self.network.modules_by_scale:
            hidden = None
            for _ in range(module.iterations):
                encoded = module.encoder(image)
                if hidden is None:
                    hidden = torch.zeros_like(encoded)
                hidden = encoded.add(module.resblock(hidden))
                image = self.consistency(module.decoder(hidden), kspace, mask)
            outputs.append(image)
        return self.consistency(self.network.final(torch.cat(outputs, 1)), kspace, mask)


def sides(size: int, coils: int, batch: int, device: torch.device) -> dict:
    """A training step of each side, as a function without arguments that returns the loss."""
    torch.manual_seed(0)
    network = pcrnn_s(coils).to(device)
    centred = torch.randn(batch, coils, size, size, dtype=torch.complex64, device=device)
    mask = torch.rand(size, device=device) < 0.25
    centred = centred * mask
    corner, corner_mask = to_corner(centred), torch.fft.ifftshift(mask)
    listed = Listing(network)
    real, real_mask = torch.view_as_real(centred).contiguous(), mask.float().reshape(1, 1, 1, -1, 1)
    bf16 = pick_precision(device) != "32-true"

    def ours() -> Tensor:
        network.to(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            images = network(corner, corner_mask)
        return rss(images).square().mean()

    def listing() -> Tensor:
        network.to(memory_format=torch.contiguous_format)
        images = listed(real, real_mask)
        return images.square().sum(1).mean()

    def step(forward):
        def run() -> float:
            for parameter in network.parameters():
                parameter.grad = None
            loss = forward()
            loss.backward()
            return loss.item()

        return run

    return {"book": step(ours), "listing": step(listing)}


def peak(side: str, options: tuple, queue) -> None:
    """Peak resident memory of one step of one side, in a fresh process."""
    run = sides(*options, torch.device("cpu"))[side]
    cost.forget_high_water()
    before = cost.high_water_mb()
    run()
    queue.put((before, cost.high_water_mb()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("size", 320), ("coils", 4), ("batch", 1), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    options = (given.size, given.coils, given.batch)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    runs = sides(*options, device)
    values = {name: run() for name, run in runs.items()}
    tolerance = 1e-3 if pick_precision(device) == "32-true" else 0.1
    if abs(values["book"] / values["listing"] - 1) > tolerance:
        raise SystemExit(f"the two sides disagree: {values}")
    seconds = cost.rounds(runs, given.rounds, device.type)
    print(
        f"{device_name(str(device))}, {pick_precision(device)}, {torch.get_num_threads()} threads"
    )
    print(f"{given.size} x {given.size}, {given.coils} coils, batch {given.batch}")
    middle = cost.medians(seconds)
    for name, value in middle.items():
        print(f"  {name:8} {value:7.3f} s a step ({min(seconds[name]):.3f} at best)")
    print(f"  ratio    {middle['listing'] / middle['book']:7.2f}")
    if device.type == "cpu":
        context = multiprocessing.get_context("spawn")
        for name in runs:
            queue = context.Queue()
            process = context.Process(target=peak, args=(name, options, queue))
            process.start()
            before, after = queue.get()
            process.join()
            print(f"  {name:8} {after:6.0f} MB peak, {after - before:.0f} MB above the start")


if __name__ == "__main__":
    main()
