"""Simulated anatomy: `brain`, `knee` and `leaves`, each drawn by `render(shape, contrast, seed)`.

A phantom is a magnitude image in physical millimetres that has never met a scanner: it is drawn at
whatever grid the caller asks for, from shapes and textures that live in millimetres, so a finer
grid shows more detail of the same body. Measuring it is the business of `scanner`.
"""
