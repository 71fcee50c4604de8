"""The code a page shows is the code that runs."""

import inspect
import textwrap

from IPython.display import Markdown


def source(*objects: object) -> Markdown:
    """The source of functions, methods or classes, as a highlighted block in page and notebook."""
    code = "\n\n".join(textwrap.dedent(inspect.getsource(item)).rstrip() for item in objects)
    return Markdown(f"```python\n{code}\n```")
