"""What a chapter puts on its page: figures, tables and numbers.

For chapter writers::

    from dltlib import page

    page.show(figure, name="fig-criteria-best", alt=..., caption=..., source=record.provenance())
    page.table(frame, caption=...)
    page.glue(best_accuracy=0.9812)      # in the prose: {glue:text}`best_accuracy:.2%`

`show` leaves alt text, caption and name beside the picture in the notebook; `handle_mime`, which
the entry point ``myst_nb.mime_renderers`` names, turns them into a numbered figure of the site,
so that ``{numref}`fig-criteria-accuracy``` works on every page. (Jupyter's own metadata of a
cell could hold a caption too, but only a typed one: nothing in it could come from a record.)

A figure is handed over in several forms (`forms_of`): as vectors, in a light and a dark one, as the
numbers that it shows, and as the code that drew it. The notebook shows a PNG, as every reader of
notebooks can, and keeps the others beside it, packed; the site has them in ``_figures``.
"""

from dltlib.page.blocks import answer, basis, by_length, fold, glue, plane, table, verdicts
from dltlib.page.pictures import (
    DOTS_PER_INCH,
    NARROW_SCREEN,
    SHORTEST_ALT,
    forms_of,
    handle_mime,
    mime_priority_overrides,
    show,
    written,
)
from dltlib.page.scales import (
    beside_the_paper,
    fewer_seeds,
    learning_sooner,
    scale,
    smaller,
    titled,
)
from dltlib.page.words import MINUS, apart, listed, signed
