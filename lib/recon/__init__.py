"""Images from Less: the library behind the chapters.

Three floors; an import only ever points down::

    top      book/*.py, __main__.py, notebooks.py, sweep.py, new_chapter.py
    middle   networks, classical, phantoms, data, learning
    ground   physics, results, errors

Complex tensors are native (``complex64``) with axes ``(batch, coils, height, width)``.
"""

__version__ = "0.1.0"
