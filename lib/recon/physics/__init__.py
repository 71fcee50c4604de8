"""What a scanner does to an image: Fourier encoding, sampling, coils.

This floor imports nothing of the project. Everything is a plain function on ``torch`` tensors with
axes ``(..., coils, height, width)``; the width axis is the phase-encoding direction.
"""
