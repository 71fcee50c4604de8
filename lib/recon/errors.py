"""The one error a user is meant to read.

Everything that can be wrong with a file, a parameter or a manifest raises `InputError` with one
sentence that names the file, the field and the remedy. The command line prints that sentence and
exits with status 2; any other exception is a defect of ours and keeps its traceback.
"""


class InputError(ValueError):
    """Bad input, said in one sentence: which file, which field, what to do.

    A message that quotes more of a file than anyone reads is cut in the middle.
    """

    def __init__(self, message: object = "") -> None:
        text = str(message)
        super().__init__(text if len(text) <= 3000 else f"{text[:1500]} ... {text[-1000:]}")
