"""How a page's template is read: with its styles inside, autoescape, and our words as filters."""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from inspect import isfunction

from jinja2 import ChainableUndefined, DictLoader, Environment, Template
from markupsafe import Markup

from radstart.report import figures, words


@cache
def template_of(page: str, included: Sequence[str] = (), styles: Sequence[str] = ()) -> Template:
    """Return the template of a page of this folder.

    Args:
        page: its file.
        included: files that it takes in.
        styles: files of styles, after those of all pages.
    """
    files = resources.files("radstart.report")
    read = {name: files.joinpath(name).read_text(encoding="utf-8") for name in (page, *included)}
    environment = Environment(
        loader=DictLoader(read),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: what for name, what in vars(words).items() if isfunction(what)}
    environment.filters["key"] = figures.key
    environment.filters["capitalised"] = lambda text: str(text)[:1].upper() + str(text)[1:]
    sheets = [files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", *styles)]
    environment.globals["css"] = Markup("".join(sheets))
    environment.globals["share_bar"] = figures.share_bar
    return environment.get_template(page)
